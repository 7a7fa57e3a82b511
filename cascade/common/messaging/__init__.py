"""Messages for people, by id: texts in a store, a renderer that shows them, and one bus for the whole process."""

from __future__ import annotations

from cascade.common.messaging import protocols
from cascade.common.messaging.bus import MessageBus, MessageStore, bus

__all__ = ["MessageBus", "MessageStore", "bus", "protocols"]
