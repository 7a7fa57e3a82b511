"""Content in IPFS: the providers below ``cascade.ipfs``."""

from cascade.providers._namespace import attributes

__all__ = ["add", "cat"]

__getattr__, __dir__ = attributes(__name__)
