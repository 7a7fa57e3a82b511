"""Ways to the outside: control messages come in through a connector, telemetry leaves through it."""
