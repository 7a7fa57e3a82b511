"""``python -m cascade`` is the command ``cascade``."""

from __future__ import annotations

import sys

from cascade.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
