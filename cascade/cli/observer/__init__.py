"""The command ``cs-observer``: watch running engines and list what limits them."""
