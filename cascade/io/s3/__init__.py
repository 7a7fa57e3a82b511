"""Objects in S3: the providers below ``cascade.io.s3``."""

from cascade.providers._namespace import attributes

__all__ = ["read_bytes", "read_text", "write_bytes", "write_text"]

__getattr__, __dir__ = attributes(__name__)
