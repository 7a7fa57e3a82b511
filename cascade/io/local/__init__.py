"""Local files: the providers below ``cascade.io.local``."""

from cascade.providers._namespace import attributes

__all__ = ["exists", "read_bytes", "read_text", "write_bytes", "write_text"]

__getattr__, __dir__ = attributes(__name__)
