"""The in-memory state backend."""

from __future__ import annotations

import asyncio

import pytest

from cascade.adapters.state import InMemoryStateBackend


@pytest.mark.row("02-execution", "State backend (per run)", "clear()")
@pytest.mark.row("02-execution", "State backend (per run)", "mark_skipped(node_id, reason) / get_skip_reason(node_id)")
@pytest.mark.row("02-execution", "State backend (per run)", "has_result(node_id)")
@pytest.mark.row("02-execution", "State backend (per run)", "put_result(node_id, value) / get_result(node_id)")
def test_results_and_skip_marks_are_kept_until_cleared():
    """A stored None is told from nothing, and clear forgets both kinds."""

    async def main():
        backend = InMemoryStateBackend("run")
        await backend.put_result("a", None)
        await backend.mark_skipped("b", "Pruned")
        assert await backend.get_result("a") is None
        assert await backend.has_result("a")
        assert not await backend.has_result("b")
        assert await backend.get_skip_reason("b") == "Pruned"
        assert await backend.get_skip_reason("a") is None
        await backend.clear()
        assert not await backend.has_result("a")
        assert await backend.get_skip_reason("b") is None

    asyncio.run(main())


def test_the_backend_declares_itself_transient():
    """The engine may store the final result only, because nobody could read the others."""
    assert InMemoryStateBackend.transient is True
