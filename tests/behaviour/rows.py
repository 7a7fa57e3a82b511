"""Which rows of the behaviour files' tables have no test that is marked with them.

``python tests/behaviour/rows.py`` names each row without a test, each mark without a row and each marked test that
never runs, and exits with 1 if there is any. ``--read DIR`` first writes the list of rows anew from ``DIR/*.md``.

Marks are found in the source of the tests, so that nothing has to be imported.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Finding", "Row", "findings", "known_rows", "marks_in", "rows_of"]

TESTS = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("rows.json")

#: The file's stem, the heading above the table, the text of the row's first cell.
Row = tuple[str, str, str]

_SEPARATOR = re.compile(r"\|[\s:|-]+\|$")
_EVERY_FILE_OF_TESTS = ("test_*.py", "bench_*.py")
_TEST = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mark:
    """A row mark in the source of a test, or ``row=None`` where its arguments are no texts that can be read there."""

    where: str
    row: Row | None
    is_run: bool


@dataclass(frozen=True)
class Finding:
    """What is wrong, and with which row or mark."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def rows_of(stem: str, text: str) -> Iterator[Row]:
    """Yield the rows of a file's tables; the same first cell again below one heading gets a number."""
    heading, seen, is_body = "", Counter[str](), False
    for line in text.splitlines():
        if line.startswith("#"):
            heading, seen, is_body = _plain(line.lstrip("#")), Counter(), False
        elif not line.startswith("|"):
            is_body = False
        elif _SEPARATOR.match(line):
            is_body = True
        elif is_body:
            cell = _plain(re.split(r"(?<!\\)\|", line)[1])
            seen[cell] += 1
            yield stem, heading, cell if seen[cell] == 1 else f"{cell} #{seen[cell]}"


def _plain(text: str) -> str:
    return text.replace("`", "").replace("**", "").replace("\\|", "|").strip()


def known_rows() -> list[Row]:
    """Return the rows as the list beside this file has them."""
    files: dict[str, dict[str, list[str]]] = json.loads(LIST.read_text(encoding="utf-8"))
    return [(stem, table, row) for stem, tables in files.items() for table, rows in tables.items() for row in rows]


def write_rows(folder: Path) -> None:
    """Write the list anew from a folder of behaviour files."""
    files: dict[str, dict[str, list[str]]] = {}
    for file in sorted(folder.glob("*.md")):
        for stem, table, row in rows_of(file.stem, file.read_text(encoding="utf-8")):
            files.setdefault(stem, {}).setdefault(table, []).append(row)
    LIST.write_text(json.dumps(files, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def marks_in(folder: Path) -> Iterator[Mark]:
    """Yield the row marks of every test below a folder."""
    for pattern in _EVERY_FILE_OF_TESTS:
        for file in sorted(folder.rglob(pattern)):
            tree = _Named().visit(ast.parse(file.read_text(encoding="utf-8"), str(file)))
            yield from _marks(tree, str(file.relative_to(folder)), [])


class _Named(ast.NodeTransformer):
    """Puts the texts that a module names in place of the names, in arguments of calls: ``TEXT`` and ``*TEXTS``."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.values = {
            target.id: statement.value
            for statement in node.body
            if isinstance(statement, ast.Assign) and isinstance(statement.value, (ast.Constant, ast.Tuple))
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.args = [text for arg in node.args for text in self._texts(arg)]
        return self.generic_visit(node)

    def _texts(self, arg: ast.expr) -> list[ast.expr]:
        name = arg.value if isinstance(arg, ast.Starred) else arg
        value = self.values.get(name.id) if isinstance(name, ast.Name) else None
        if isinstance(arg, ast.Starred):
            return list(value.elts) if isinstance(value, ast.Tuple) else [arg]
        return [value] if isinstance(value, ast.Constant) else [arg]


def _marks(scope: ast.Module | ast.ClassDef, where: str, inherited: list[ast.expr]) -> Iterator[Mark]:
    """Yield the marks of all tests of a module or class, each test with those it inherits."""
    marks = [*inherited, *_pytestmark(scope)]
    never = any(_skips(statement) for statement in scope.body)
    for child in scope.body:
        if isinstance(child, ast.ClassDef) and child.name.startswith("Test"):
            yield from _marks(child, f"{where}::{child.name}", [*marks, *child.decorator_list])
        elif isinstance(child, _TEST) and child.name.startswith("test"):
            yield from _marks_of_test(child, f"{where}::{child.name}", marks, never)


def _marks_of_test(
    test: ast.FunctionDef | ast.AsyncFunctionDef, where: str, inherited: list[ast.expr], never: bool
) -> Iterator[Mark]:
    """Yield the marks that hold for all of a test, then those of its single cases."""
    decorators = [*inherited, *test.decorator_list]
    cases = [case for decorator in decorators for case in _cases(decorator)]
    own = [mark for decorator in decorators if not _named(decorator, "parametrize") for mark in _flat(decorator)]
    never = never or any(map(_never_runs, own)) or any(map(_skips, test.body))
    for marks, is_run in [(own, not never), *((case, not never and not any(map(_never_runs, case))) for case in cases)]:
        for mark in marks:
            if isinstance(mark, ast.Call) and _named(mark, "row"):
                yield Mark(f"{where} (line {mark.lineno})", _row(mark), is_run)


def _pytestmark(scope: ast.Module | ast.ClassDef) -> Iterator[ast.expr]:
    for statement in scope.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in targets):
            assert isinstance(statement, ast.Assign)
            yield from _flat(statement.value)


def _flat(marks: ast.expr) -> list[ast.expr]:
    return list(marks.elts) if isinstance(marks, (ast.List, ast.Tuple)) else [marks]


def _cases(decorator: ast.expr) -> Iterator[list[ast.expr]]:
    """Yield the marks of each ``pytest.param(..., marks=...)`` inside a decorator."""
    for node in ast.walk(decorator):
        if isinstance(node, ast.Call) and _name(node.func) == "param":
            yield [mark for keyword in node.keywords if keyword.arg == "marks" for mark in _flat(keyword.value)]


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _named(mark: ast.expr, name: str) -> bool:
    """Return whether this is ``pytest.mark.<name>``, called or not."""
    function = mark.func if isinstance(mark, ast.Call) else mark
    return isinstance(function, ast.Attribute) and function.attr == name and _name(function.value) == "mark"


def _row(mark: ast.Call) -> Row | None:
    texts = [arg.value for arg in mark.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return (texts[0], texts[1], texts[2]) if len(texts) == len(mark.args) == 3 and not mark.keywords else None


def _never_runs(mark: ast.expr) -> bool:
    """Return whether a mark keeps its test from running, or from showing anything, whatever the machine."""
    if _named(mark, "skip"):
        return True
    conditions = mark.args if isinstance(mark, ast.Call) else []
    if _named(mark, "xfail"):
        return not conditions or _is_true(conditions[0])
    return _named(mark, "skipif") and any(map(_is_true, conditions))


def _is_true(condition: ast.expr) -> bool:
    return isinstance(condition, ast.Constant) and bool(condition.value)


def _skips(statement: ast.stmt) -> bool:
    """Return whether a statement is ``pytest.skip(...)`` or ``pytest.xfail(...)``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) in ("pytest.skip", "pytest.xfail")


def findings(rows: list[Row], marks: list[Mark]) -> list[Finding]:
    """Return what is missing in tests with these marks, in the order of the rows, then of the marks."""
    shown = {mark.row for mark in marks if mark.is_run}
    known = set(rows)
    missing = [Finding("no test for", " | ".join(row)) for row in rows if row not in shown]
    for mark in marks:
        if mark.row is None:
            missing.append(Finding("a mark needs three texts", mark.where))
        elif mark.row not in known:
            missing.append(Finding("no such row", f"{' | '.join(mark.row)}, at {mark.where}"))
        elif not mark.is_run:
            missing.append(Finding("never runs", f"{mark.where}, for {' | '.join(mark.row)}"))
    return missing


def main(arguments: list[str] | None = None) -> int:
    """Run as a script; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read", metavar="DIR", type=Path, help="write the list of rows anew from DIR/*.md")
    folder = parser.parse_args(arguments).read
    if folder is not None:
        write_rows(folder)
    rows = known_rows()
    found = findings(rows, list(marks_in(TESTS)))
    for finding in found:
        print(finding)
    without = sum(finding.kind == "no test for" for finding in found)
    print(f"{len(rows) - without} of {len(rows)} rows have a test")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
