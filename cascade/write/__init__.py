"""Writing files: the providers below ``cascade.write``."""

from cascade.providers._namespace import attributes

__all__ = ["bytes", "text"]

__getattr__, __dir__ = attributes(__name__)
