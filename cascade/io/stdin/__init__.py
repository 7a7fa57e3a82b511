"""Standard input: the providers below ``cascade.io.stdin``."""

from cascade.providers._namespace import attributes

__all__ = ["read_line"]

__getattr__, __dir__ = attributes(__name__)
