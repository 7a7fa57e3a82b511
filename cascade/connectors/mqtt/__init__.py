"""The connector for MQTT brokers (extra ``mqtt``)."""

from __future__ import annotations

from cascade.connectors.mqtt.connector import MqttConnector

__all__ = ["MqttConnector"]
