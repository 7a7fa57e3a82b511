"""Reading documents and finding values in them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from tests.engines import make_engine, run

module = importlib.import_module("cascade.providers.config")
yaml = module.yaml
needs_yaml = pytest.mark.skipif(yaml is None, reason="PyYAML is not installed: the extra is called yaml")

APP = """
servers:
  - host: one
    port: 8080
  - host: two
    port: 9090
debug: false
"""


@needs_yaml
@pytest.mark.row("06-providers", "Built-in providers", "load_yaml")
def test_yaml_document_is_parsed(tmp_path: Path) -> None:
    """The path may be lazy, and the document may be of any shape."""
    path = tmp_path / "app.yml"
    path.write_text(APP + "name: é\n", encoding="utf-8")

    assert module._read_yaml_task.name == "load_yaml"
    assert run(cs.load_yaml(cs.format("{}", path)))["servers"][1] == {"host": "two", "port": 9090}
    assert run(cs.load_yaml(path))["name"] == "é"


@pytest.mark.row("06-providers", "Built-in providers", "load_yaml")
@pytest.mark.parametrize("name", ["app.json", pytest.param("app.yml", marks=needs_yaml)])
def test_json_document_is_parsed_too(tmp_path: Path, name: str) -> None:
    """JSON is read under any name; as ``*.json`` also with tabs, and its numbers are numbers."""
    document = {"a": [1, 2.5, None, True], "b": {"c": "d"}}
    path = tmp_path / name
    path.write_text(json.dumps(document), encoding="utf-8")
    assert run(cs.load_yaml(str(path))) == document

    if name == "app.json":
        path.write_text('{\n\t"n": 1e3}', encoding="utf-8")
        assert run(cs.load_yaml(str(path))) == {"n": 1000.0}


@needs_yaml
@pytest.mark.row("06-providers", "Built-in providers", "load_yaml")
def test_documents_cannot_make_objects(tmp_path: Path) -> None:
    """The loader is the safe one: a tag that would call something is an error, and nothing is called."""
    path = tmp_path / "hostile.yml"
    path.write_text(f"!!python/object/apply:os.mkdir ['{tmp_path}/made']", encoding="utf-8")
    with pytest.raises(yaml.YAMLError):
        run(cs.load_yaml(path))

    assert not (tmp_path / "made").exists()


@needs_yaml
@pytest.mark.row("06-providers", "Built-in providers", "load_yaml")
def test_errors_are_those_of_files_and_yaml(tmp_path: Path) -> None:
    """A missing file and a malformed one raise what they raise elsewhere."""
    (tmp_path / "bad.yml").write_text("a: [1", encoding="utf-8")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")

    with pytest.raises(FileNotFoundError):
        run(cs.load_yaml(tmp_path / "none.yml"))
    with pytest.raises(yaml.YAMLError):
        run(cs.load_yaml(tmp_path / "bad.yml"))
    with pytest.raises(ValueError):
        run(cs.load_yaml(tmp_path / "bad.json"))


@pytest.mark.row("06-providers", "Built-in providers", "load_yaml")
def test_missing_library_is_named_when_a_document_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without PyYAML the provider is there, ``lookup`` works, and loading raises an ImportError with the remedy."""
    monkeypatch.setattr(module, "yaml", None)
    target = cs.load_yaml(tmp_path / "app.yml")

    with pytest.raises(ImportError, match=r"'PyYAML' library is required .*'cascade-hot\[yaml\]'"):
        run(target)
    assert run(cs.lookup({"a": 1}, "a")) == 1


@pytest.mark.row("06-providers", "Built-in providers", "lookup")
@pytest.mark.parametrize(
    ("key", "value"),
    [("debug", False), ("servers.0.port", 8080), ("servers.-1.host", "two"), ("pair.1", "b"), ("empty", None)],
)
def test_dotted_key_finds_a_value(key: str, value: Any) -> None:
    """Segments are keys of dicts, or numbers that index lists and tuples."""
    document = {
        "servers": [{"host": "one", "port": 8080}, {"host": "two", "port": 9090}],
        "debug": False,
        "pair": ("a", "b"),
        "empty": None,
    }

    assert module._lookup_task.name == "lookup"
    assert run(cs.lookup(document, key)) == value


@pytest.mark.row("06-providers", "Built-in providers", "lookup")
@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        ("x", KeyError, "segment 'x' not found"),
        ("list.0.x", KeyError, "segment 'x' not found"),
        ("list.x", KeyError, "not a valid list index"),
        ("list.1", KeyError, "not a valid list index"),
        ("list.1.5", KeyError, "not a valid list index"),
        ("text.0", TypeError, "non-container type"),
        ("list.0.y.z", TypeError, "non-container type"),
    ],
)
def test_what_cannot_be_found_is_a_clear_error(key: str, error: type[Exception], text: str) -> None:
    """The error says which segment of which key; it does not show the document, which may hold secrets."""
    with pytest.raises(error, match=text) as caught:
        run(cs.lookup(source={"list": [{"y": "hunter2"}], "text": "hunter2"}, key=key))

    assert f"'{key}'" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_lookup_refuses_a_key_that_is_no_text() -> None:
    """And says what a key is."""
    with pytest.raises(TypeError, match=r"lookup takes a dotted key, such as 'servers\.0\.port', not int: 0"):
        run(cs.lookup([1], 0))


@needs_yaml
def test_lookup_takes_a_document_that_is_loaded(tmp_path: Path) -> None:
    """The two fit together, in loops and maps as well."""
    path = tmp_path / "app.yml"
    path.write_text(APP, encoding="utf-8")
    document = cs.load_yaml(path)

    @cs.task
    def add(left: int, total: int) -> Any:
        return add(left - 1, plus(total, cs.lookup(cs.load_yaml(path), "servers.0.port"))) if left else total

    @cs.task
    def plus(a: int, b: int) -> int:
        return a + b

    engine = make_engine()

    assert run(cs.lookup(source=document, key="servers.1.port")) == 9090
    assert run(cs.lookup.map(source=[{"a": 1}, {"a": 2}], key=["a", "a"])) == [1, 2]
    assert run(add(5, 0), engine) == 5 * 8080
    assert engine.stats.hot >= 3
