"""What the tests of the gate share."""

from __future__ import annotations

import pytest

from tests.gates import Clock, virtual


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Virtual time."""
    return virtual(monkeypatch)
