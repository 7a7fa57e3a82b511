"""The cache policy for tasks that make a file."""

from __future__ import annotations

import asyncio

import pytest

import cascade as cs
from cascade.adapters.caching import FileExistenceCache
from tests.engines import run


@pytest.mark.row("03-flow-and-policies", "Cache", "FileExistenceCache(target_path)")
def test_an_existing_file_is_a_hit_whose_value_is_the_path(tmp_path):
    """No file, no hit; saving writes nothing."""
    target = tmp_path / "out.txt"
    policy = FileExistenceCache(str(target))

    async def main():
        assert await policy.check("id", {}) is None
        await policy.save("id", {}, "value")
        assert not target.exists()
        target.write_text("made")
        assert await policy.check("id", {}) == str(target)

    asyncio.run(main())


@pytest.mark.row("03-flow-and-policies", "Cache", "FileExistenceCache(target_path)")
def test_the_path_may_depend_on_the_inputs(tmp_path):
    """A function from inputs to a path is asked at every check; path objects become text."""
    (tmp_path / "a").write_text("")
    policy = FileExistenceCache(lambda inputs: tmp_path / inputs["name"])

    assert asyncio.run(policy.check("id", {"name": "a"})) == str(tmp_path / "a")
    assert asyncio.run(policy.check("id", {"name": "b"})) is None
    assert asyncio.run(FileExistenceCache(tmp_path / "a").check("id", {})) == str(tmp_path / "a")


def test_a_call_whose_file_exists_does_not_run(tmp_path):
    """Its value is the path, its consumers get it, and the function of the path sees the call's inputs."""
    calls = []

    @cs.task
    def write(name, text):
        calls.append(name)
        (tmp_path / name).write_text(text)
        return "written"

    @cs.task
    def told(what):
        return f"told {what}"

    policy = FileExistenceCache(lambda inputs: str(tmp_path / str(inputs["0"])))
    found = [run(told(write("a", text).with_cache(policy))) for text in ("one", "two")]

    assert found == ["told written", f"told {tmp_path / 'a'}"]
    assert calls == ["a"]
    assert (tmp_path / "a").read_text() == "one"
