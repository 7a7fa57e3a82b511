"""Input and output: the providers below ``cascade.io``."""

from cascade.providers._namespace import attributes

__all__ = ["local", "s3", "stdin", "stdout"]

__getattr__, __dir__ = attributes(__name__)
