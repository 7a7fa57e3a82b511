"""The file system: the providers below ``cascade.fs``."""

from cascade.providers._namespace import attributes

__all__ = ["exists"]

__getattr__, __dir__ = attributes(__name__)
