"""Reading files: the providers below ``cascade.read``."""

from cascade.providers._namespace import attributes

__all__ = ["bytes", "text"]

__getattr__, __dir__ = attributes(__name__)
