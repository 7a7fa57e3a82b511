"""A census of Python's standard library: how long are its functions?

Reads every .py file of the running interpreter's library in threads (a map with retry), folds the files into one
census (a task that calls itself), and reports a table on the screen, a JSON file and a picture.

    python examples/stdlib_census.py [--out DIR] [--limit FILES]
    cascade run examples/stdlib_census.py
"""

from __future__ import annotations

import argparse
import ast
import html
import io
import json
import math
import platform
import sys
import sysconfig
import time
import tokenize
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cascade as cs

LONGEST_SHOWN = 10

#: Errors that another attempt would meet again; any other OSError may pass.
LASTING = (FileNotFoundError, PermissionError, IsADirectoryError)


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Problem:
    """A file that could not be counted: ``kind`` is read, decode or parse."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Function:
    """Where a function is, and over how many lines it extends."""

    lines: int
    name: str
    place: str


@dataclass(frozen=True)
class Source:
    """The bytes of a file, or why there are none."""

    path: str
    data: bytes = b""
    problem: str = ""


@dataclass(frozen=True)
class Census:
    """What has been counted so far. ``lengths`` counts functions by their number of lines."""

    files: int = 0
    lines: int = 0
    classes: int = 0
    functions: int = 0
    coroutines: int = 0
    lengths: dict[int, int] = field(default_factory=dict)
    longest: tuple[Function, ...] = ()
    problems: tuple[Problem, ...] = ()

    def quantile(self, share: float) -> int:
        """Return the smallest number of lines that this share of the functions does not exceed; 0 without functions."""
        wanted, seen = share * self.functions, 0
        for lines, count in sorted(self.lengths.items()):
            seen += count
            if seen >= wanted:
                return lines
        return 0


# ----------------------------------------------------------------------------------------------------------- the work


@cs.task(mode="blocking")
def read(root: Path, path: str) -> Source:
    """Read a file in a thread. What may pass is raised and tried again; what will last is noted."""
    try:
        return Source(path, (root / path).read_bytes())
    except LASTING as error:
        return Source(path, problem=f"{type(error).__name__}: {error.strerror}")


@cs.task
def tally(sources: list[Source], index: int, census: Census) -> Census:
    """Count one file and call itself for the rest: a loop in constant memory."""
    if index == len(sources):
        return census
    return tally(sources, index + 1, counted(census, sources[index]))


def workflow(root: Path, paths: Sequence[str]) -> Census:
    """Return the lazy census of some files. To type checkers a call of a task is what the task returns."""
    sources = read.map(root=[root] * len(paths), path=list(paths)).with_retry(3, delay=0.05, backoff=2.0)
    return tally(sources, 0, Census())


def counted(census: Census, source: Source) -> Census:
    """Return the census with one more file in it, be it as a problem."""
    census = replace(census, files=census.files + 1)
    try:
        text = decoded(source)
        tree = parsed(text)
    except Refused as refused:
        problem = Problem(source.path, refused.kind, refused.reason)
        return replace(census, problems=(*census.problems, problem))
    nodes = [node for node in ast.walk(tree) if isinstance(node, DEFINITIONS)]
    functions = list(functions_of(nodes, source.path))
    lengths = dict(census.lengths)
    for function in functions:
        lengths[function.lines] = lengths.get(function.lines, 0) + 1
    longest = sorted((*census.longest, *functions), key=lambda function: -function.lines)
    return replace(
        census,
        lines=census.lines + len(text.splitlines()),
        classes=census.classes + sum(isinstance(node, ast.ClassDef) for node in nodes),
        functions=census.functions + len(functions),
        coroutines=census.coroutines + sum(isinstance(node, ast.AsyncFunctionDef) for node in nodes),
        lengths=lengths,
        longest=tuple(longest[:LONGEST_SHOWN]),
    )


class Refused(Exception):
    """A file that cannot be counted."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason


def decoded(source: Source) -> str:
    """Return the text of a file, in the encoding that it declares."""
    if source.problem:
        raise Refused("read", source.problem)
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source.data).readline)
        return source.data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise Refused("decode", str(error)) from error


def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the census is not a linter
        try:
            return ast.parse(text)
        except SyntaxError as error:
            raise Refused("parse", f"{error.msg} (line {error.lineno})") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise Refused("parse", f"{type(error).__name__}: {error}") from error


def functions_of(nodes: Iterable[ast.AST], path: str) -> Iterator[Function]:
    """Yield the functions among some nodes, methods and nested ones too."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(lines, node.name, f"{path}:{node.lineno}")


def library_files(root: Path) -> list[str]:
    """Return all .py files of the standard library, as paths below its root, without what was installed into it."""
    apart = {"site-packages", "dist-packages"}
    found = (path.relative_to(root) for path in root.rglob("*.py"))
    return sorted(path.as_posix() for path in found if not apart & set(path.parts))


# --------------------------------------------------------------------------------------------------------- the report


@dataclass(frozen=True)
class Bin:
    """Functions of ``first`` to ``last`` lines."""

    first: int
    last: int
    count: int

    @property
    def label(self) -> str:
        """The range as text."""
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


def log_bins(lengths: dict[int, int]) -> list[Bin]:
    """Count functions in bins that double: 1, 2, 3 to 4, 5 to 8 and on to the longest."""
    bins: list[Bin] = []
    last = 1
    while lengths and (not bins or bins[-1].last < max(lengths)):
        first = bins[-1].last + 1 if bins else 1
        bins.append(Bin(first, last, sum(lengths.get(lines, 0) for lines in range(first, last + 1))))
        last *= 2
    return bins


def table(census: Census, seconds: float) -> str:
    """Return the report for the screen."""
    kinds = [problem.kind for problem in census.problems]
    rows = [
        ("files", census.files),
        ("  counted", census.files - len(kinds)),
        ("  not readable", kinds.count("read")),
        ("  not decodable", kinds.count("decode")),
        ("  not parsable", kinds.count("parse")),
        ("lines", census.lines),
        ("classes", census.classes),
        ("functions", census.functions),
        ("  async", census.coroutines),
        ("  lines, median", census.quantile(0.5)),
        ("  lines, 9 in 10", census.quantile(0.9)),
    ]
    parts = [
        f"Standard library of Python {platform.python_version()}, in {seconds:.1f} s",
        "\n".join(f"  {name:<18}{value:>10,}" for name, value in rows),
        "Lines per function\n" + "\n".join(bars(log_bins(census.lengths))),
        "Longest functions\n" + "\n".join(f"  {f.lines:>6,}  {f.name}  ({f.place})" for f in census.longest),
    ]
    if census.problems:
        parts.append("Not counted\n" + "\n".join(f"  {p.kind:<7} {p.path}: {p.reason}" for p in census.problems))
    return "\n\n".join(parts)


def bars(bins: list[Bin]) -> Iterator[str]:
    """Yield a line with a bar for each bin."""
    most = max((one.count for one in bins), default=1) or 1
    for one in bins:
        bar = "█" * math.ceil(40 * one.count / most)
        yield f"  {one.label:>11}  {one.count:>7,}  {bar}".rstrip()


def as_json(census: Census) -> str:
    """Return the whole census as JSON."""
    record = {"python": platform.python_version(), **asdict(census)}
    record["lengths"] = {str(lines): count for lines, count in sorted(census.lengths.items())}
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


# -------------------------------------------------------------------------------------------------------- the picture

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 84, 28, 104, 76

STYLE = """
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2933 }
  .title { font-size: 22px; font-weight: 600 }
  .note { font-size: 14px; fill: #52606d }
  .axis { font-size: 14px; fill: #3e4c59 }
  .tick { font-size: 13px; fill: #52606d }
  .value { font-size: 12.5px; fill: #1f2933 }
"""


def picture(census: Census) -> str:
    """Return the distribution of function lengths as SVG."""
    bins = log_bins(census.lengths)
    step = nice_step(max((one.count for one in bins), default=1))
    top = step * math.ceil(max((one.count for one in bins), default=1) / step)
    parts = [*head(census), *grid(top, step), *columns(bins, top, census.functions), *labels()]
    body = "\n".join(f"  {part}" for part in parts)
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<style>{STYLE}</style>\n{body}\n</svg>\n'


def nice_step(highest: int) -> int:
    """Return the distance of about five grid lines: 1, 2 or 5 times a power of ten."""
    power: int = 10 ** max(math.floor(math.log10(max(highest, 1) / 5)), 0)
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power * 6 >= highest)


def text(x: float, y: float, kind: str, content: str, more: str = "") -> str:
    """Return a text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}"{more}>{html.escape(content)}</text>'


def head(census: Census) -> Iterator[str]:
    """Yield background, title and what the picture is of."""
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    yield text(LEFT - 56, 40, "title", f"Half of the functions have at most {census.quantile(0.5)} lines")
    note = (
        f"Standard library of Python {platform.python_version()}: {census.functions:,} functions in "
        f"{census.files:,} files. Nine in ten have at most {census.quantile(0.9)} lines."
    )
    yield text(LEFT - 56, 66, "note", note)


def height_of(value: float, top: int) -> float:
    """Return the height of a column in pixels."""
    return value / top * (HEIGHT - TOP - BOTTOM)


def grid(top: int, step: int) -> Iterator[str]:
    """Yield the horizontal lines and their numbers."""
    for value in range(0, top + 1, step):
        y = HEIGHT - BOTTOM - height_of(value, top)
        colour = "#9aa5b1" if value == 0 else "#e4e7eb"
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>'
        yield text(LEFT - 10, y + 4.5, "tick", f"{value:,}", ' text-anchor="end"')


def columns(bins: list[Bin], top: int, functions: int) -> Iterator[str]:
    """Yield a column for each bin, with its range below and its count above."""
    pitch = (WIDTH - LEFT - RIGHT) / max(len(bins), 1)
    for index, one in enumerate(bins):
        x, high = LEFT + index * pitch, height_of(one.count, top)
        y = HEIGHT - BOTTOM - high
        share = f"{one.label} lines: {one.count:,} functions, {one.count / functions:.1%}"
        shape = f'x="{x + pitch * 0.09:.1f}" y="{y:.1f}" width="{pitch * 0.82:.1f}" height="{high:.1f}"'
        yield f'<rect {shape} rx="2" fill="#2f6f9f"><title>{html.escape(share)}</title></rect>'
        middle = x + pitch / 2
        yield text(middle, y - 7, "value", f"{one.count:,}", ' text-anchor="middle"')
        yield text(middle, HEIGHT - BOTTOM + 20, "tick", one.label, ' text-anchor="middle"')


def labels() -> Iterator[str]:
    """Yield what the axes show."""
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield text(middle, HEIGHT - 24, "axis", "Lines per function; bins double in width", ' text-anchor="middle"')
    x, y = 24, (TOP + HEIGHT - BOTTOM) / 2
    yield text(x, y, "axis", "Functions", f' text-anchor="middle" transform="rotate(-90 {x} {y:.1f})"')


# -------------------------------------------------------------------------------------------------------- the program


@cs.task
def report(census: Census, started: float) -> str:
    """Return the table as the value of a run."""
    return table(census, time.monotonic() - started)


def main() -> str:
    """Return the lazy report, for ``cascade run``; ``command`` also writes the files."""
    root = Path(sysconfig.get_path("stdlib"))
    return report(workflow(root, library_files(root)), time.monotonic())


def command(argv: Sequence[str] | None = None) -> int:
    """Take the census, report it, and return the exit code."""
    parser = argparse.ArgumentParser(description="A census of Python's standard library.")
    parser.add_argument("--out", type=Path, default=Path("census"), help="folder of the report (default: census)")
    parser.add_argument("--limit", type=int, help="count only so many files, spread over the library")
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")), help="another folder to count")
    arguments = parser.parse_args(argv)

    paths = library_files(arguments.root)
    if arguments.limit is not None:
        paths = paths[:: max(len(paths) // max(arguments.limit, 1), 1)][: arguments.limit]
    started = time.monotonic()
    census = cs.run(workflow(arguments.root, paths), log_level="WARNING")
    print(table(census, time.monotonic() - started))

    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in (("census.json", as_json(census)), ("lengths.svg", picture(census))):
        (arguments.out / name).write_text(content, encoding="utf-8")
    print(f"\nWritten to {arguments.out / 'census.json'} and {arguments.out / 'lengths.svg'}")
    return 0


if __name__ == "__main__":
    sys.exit(command())
