"""What type checkers must make of the providers. Checked like api.py, never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type, cast

import cascade as cs
from cascade.io.local import read_text
from cascade.providers import Provider
from cascade.providers.http import HttpResponse
from cascade.read import text
from cascade.spec.protocols import LazyFactory

# ------------------------------------------------------------------------------- a call is a lazy result, of its type

assert_type(cs.shell("ls"), cs.LazyResult[str])
assert_type(cs.shell(["ls", "-l"], check=False), cs.LazyResult[str])
assert_type(cs.wait(0.5), cs.LazyResult[None])
assert_type(cs.recv("topic", timeout=3), cs.LazyResult[Any])
assert_type(cs.template("{{ a }}", {"a": 1}, b=2), cs.LazyResult[str])
assert_type(cs.format("{}", 1), cs.LazyResult[str])
assert_type(cs.dict(a=1), cs.LazyResult[dict[str, Any]])
assert_type(cs.lookup(source=cs.load_yaml("app.yml"), key="servers.0.port"), cs.LazyResult[Any])
assert_type(cs.read.text(Path("path")), cs.LazyResult[str])
assert_type(cs.read.bytes("path"), cs.LazyResult[bytes])
assert_type(cs.write.text("path", "content"), cs.LazyResult[None])
assert_type(cs.write.bytes("path", b"content"), cs.LazyResult[None])
assert_type(cs.fs.exists("path"), cs.LazyResult[bool])
assert_type(cs.io.local.read_text("path", encoding="latin-1"), cs.LazyResult[str])
assert_type(cs.io.s3.read_bytes("bucket", "key"), cs.LazyResult[bytes])
assert_type(cs.io.stdin.read_line(cs.io.stdout.write("name?")), cs.LazyResult[str])
assert_type(cs.http.get("https://example.org"), cs.LazyResult[HttpResponse])
assert_type(cs.http.post("https://example.org", json={"a": 1}), cs.LazyResult[HttpResponse])
assert_type(cs.sql("select 1", "database"), cs.LazyResult[list[dict[str, Any]]])
assert_type(cs.subflow("flow.py", "result", params={"n": 1}), cs.LazyResult[Any])
assert_type(cs.ipfs.cat("cid"), cs.LazyResult[bytes])
assert_type(text("path"), cs.LazyResult[str])
assert_type(read_text("path"), cs.LazyResult[str])

# ------------------------------------------------------------------------------------------ arguments may be lazy


@cs.task
def address(name: str) -> str:
    return f"https://{name}"


cs.http.get(cs.template("{{ base }}/u/{{ id }}", base="https://example.org", id=cs.Param("id")))
cs.http.get(address("example.org"), headers=cs.dict(accept="text/html"))
cs.write.text("copy", cs.read.text(cs.Param("path"))).with_retry(3)
cs.wait(cs.Param("delay", default=1.0, type=float))

# ------------------------------------------------------------------------- they run, and go where their values may go

assert_type(cs.run(cs.shell("ls")), str)
assert_type(cs.run(cs.http.get("https://example.org")), HttpResponse)
address(cast("str", cs.shell("hostname")))
mapped: list[str] = cs.run(cs.shell.map(command=["ls", "pwd"]))
cs.http.get.name = "fetch"

# ---------------------------------------------------------------------------------------------------- wrong uses

cs.shell()  # type: ignore[call-arg]
cs.shell("ls", shell=True)  # type: ignore[call-arg]
cs.read.text(1)  # type: ignore[arg-type]
cs.http.get(url=b"bytes")  # type: ignore[arg-type]
cs.write.bytes("path", "text")  # type: ignore[arg-type]
cs.http.nothing("url")  # type: ignore[attr-defined]
cs.nothing("url")  # type: ignore[attr-defined]


class Greeter(Provider):
    name = "acme.greet"

    def create_factory(self) -> LazyFactory:
        return address
