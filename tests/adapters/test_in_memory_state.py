"""The in-memory state backend."""

from __future__ import annotations

import asyncio

from cascade.adapters.state import InMemoryStateBackend


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
