"""The command ``cs-controller``: pause, resume and limit running engines."""
