"""Requests by HTTP: the providers below ``cascade.http``."""

from cascade.providers._namespace import attributes

__all__ = ["delete", "get", "post", "put", "request"]

__getattr__, __dir__ = attributes(__name__)
