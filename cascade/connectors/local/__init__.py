"""Connectors that need no server: one within the process, one within the machine."""

from __future__ import annotations

from cascade.connectors.local.bus import LocalBusConnector
from cascade.connectors.local.connector import LocalConnector

__all__ = ["LocalBusConnector", "LocalConnector"]
