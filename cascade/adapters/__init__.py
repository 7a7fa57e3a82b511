"""Stock implementations of the protocols in ``cascade.spec.protocols``."""
