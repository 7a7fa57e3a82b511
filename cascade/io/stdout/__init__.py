"""Standard output: the providers below ``cascade.io.stdout``."""

from cascade.providers._namespace import attributes

__all__ = ["write"]

__getattr__, __dir__ = attributes(__name__)
