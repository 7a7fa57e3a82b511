"""Instructions per unit: real counts where valgrind is there, and a stand-in for what can go wrong."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from cascade.tools.gate import instructions
from cascade.tools.gate.errors import CountingFailed
from cascade.tools.gate.instructions import count, why_not

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="valgrind is not for Windows")

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from cascade.tools.gate.instructions import Counted, record

def work(n):
    for i in range(n):
        str(i).zfill(9)
    return n

def three_for_two(n):
    work(n + n // 2)
    return n

record([Counted("one", work, 100, 1100), Counted("slow", three_for_two, 100, 1100)], Path(sys.argv[1]))
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """A program with two subjects, of which the second does half as much again as it says."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return [sys.executable, str(path)]


#: Does what callgrind does at a mark: writes the next dump, whose number a fork inherits.
SITE = """
import os

def getloadavg(made=[]):
    made.append(0)
    costs = open(os.environ["COSTS"]).read().split()
    open(os.environ["COSTS"], "w").write(" ".join(costs[1:]))
    if costs and costs[0] != "none":
        with open(f"{os.environ['OUT']}.{len(made)}", "w") as dump:
            dump.write("cut off" if costs[0] == "-" else f"fn=(1)\\n1 5\\ntotals: {costs[0]}\\n")

if "OUT" in os.environ:
    os.getloadavg = getloadavg
"""
VALGRIND = """
import os, subprocess, sys
assert sys.argv[1:3] == ["--tool=callgrind", "--dump-before=getloadavg"]
assert os.environ["PYTHONHASHSEED"] == "0"
os.environ["OUT"] = sys.argv[3].removeprefix("--callgrind-out-file=")
sys.exit(subprocess.run(sys.argv[4:]).returncode)
"""


@pytest.fixture
def valgrind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in: it runs the command, and at each mark leaves a dump with the next of the ``costs`` as its total."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    stand_in = tmp_path / "bin" / "valgrind"
    stand_in.write_text(f"#!{sys.executable}{VALGRIND}", encoding="utf-8")
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(stand_in.parent))
    monkeypatch.setenv("COSTS", str(tmp_path / "costs"))
    return tmp_path / "costs"


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "counts")
def test_real_counts_show_a_slowdown(program: list[str]) -> None:
    """What does half as much again takes half as many instructions again, whatever else the machine does."""
    found = count(program)

    assert list(found) == ["one", "slow"]
    assert found["slow"] / found["one"] == pytest.approx(1.5, rel=0.05)


def test_units_come_from_the_difference(program: list[str], valgrind: Path) -> None:
    """Of four dumps for each subject the second and the fourth count, divided by the additional units."""
    valgrind.write_text("90000 5000 6000 35000  80000 1000 7000 2000", encoding="ascii")

    assert count(program) == {"one": 30.0, "slow": 1.0}


@pytest.mark.parametrize(
    "costs, text",
    [
        ("none none none none", "callgrind wrote 0 dumps, not 4: does the workflow call os.getloadavg"),
        ("1 1 none 1", "callgrind wrote 3 dumps, not 4"),
        ("1 1 - 1", "dump 0-dump.3 has no totals"),
    ],
)
def test_wrong_dumps_are_told(program: list[str], valgrind: Path, costs: str, text: str) -> None:
    """Numbers are never made of dumps that are not there."""
    valgrind.write_text(f"{costs} 1 1 1 1", encoding="ascii")

    with pytest.raises(CountingFailed, match=text):
        count(program)


def test_workflow_that_makes_marks_is_told(program: list[str], valgrind: Path) -> None:
    """What calls the function of the marks itself cannot be counted."""
    text = Path(program[1]).read_text(encoding="utf-8")
    text = text.replace("def work(n):", "def work(n):\n    __import__('os').getloadavg()")
    Path(program[1]).write_text(text, encoding="utf-8")
    valgrind.write_text("1 " * 16, encoding="ascii")

    with pytest.raises(CountingFailed, match=r"wrote 8 dumps, not 4: does the workflow call os\.getloadavg"):
        count(program)


def test_subjects_do_not_meet(program: list[str], valgrind: Path) -> None:
    """Each has the process as it was after the start: what one leaves behind the next does not find."""
    text = Path(program[1]).read_text(encoding="utf-8")
    text = text.replace("def three_for_two(n):", "seen = []\ndef three_for_two(n):\n    return n - len(seen)")
    text = text.replace("    return n\n", "    seen.append(n)\n    return n\n", 1)
    Path(program[1]).write_text(text.replace("seen = []\n", "", 1).replace("def work", "seen = []\ndef work"), "utf-8")
    valgrind.write_text("0 1000 0 2000  0 1000 0 2000", encoding="ascii")

    assert count(program) == {"one": 1.0, "slow": 1.0}


def test_failing_work_is_told(program: list[str], valgrind: Path) -> None:
    """What a subject raises in its fork is the reason."""
    text = Path(program[1]).read_text(encoding="utf-8").replace("str(i).zfill(9)", "1 / i")
    Path(program[1]).write_text(text, encoding="utf-8")
    valgrind.write_text("", encoding="ascii")

    with pytest.raises(CountingFailed, match="ended with status 1: ZeroDivisionError"):
        count(program)


def test_failing_program_is_told(program: list[str], valgrind: Path) -> None:
    """The last words of the program are the reason."""
    Path(program[1]).write_text("raise LookupError('no such workload')", encoding="utf-8")
    valgrind.write_text("", encoding="ascii")

    with pytest.raises(CountingFailed, match="ended with status 1: LookupError: no such workload"):
        count(program)


def test_program_that_tells_nothing_is_told(program: list[str], valgrind: Path) -> None:
    """A program that ends well without having counted is an error too."""
    Path(program[1]).write_text("", encoding="utf-8")
    valgrind.write_text("", encoding="ascii")

    with pytest.raises(CountingFailed, match="ended with status 0: nothing was said"):
        count(program)


def test_endless_program_is_given_up(
    program: list[str], valgrind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever."""
    valgrind.write_text("", encoding="ascii")
    Path(program[1]).write_text("while True: pass", encoding="utf-8")
    monkeypatch.setattr(instructions, "_PATIENCE", 0)

    with pytest.raises(CountingFailed, match="took longer than 0 s; count a shorter workflow"):
        count(program)


def test_without_valgrind_it_says_so(program: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reason is there before anything is tried, and an error afterwards."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert why_not() == "valgrind is not installed"
    with pytest.raises(CountingFailed, match="valgrind does not start"):
        count(program)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert why_not() == ""
    monkeypatch.delattr(os, "getloadavg")
    assert why_not() == "this system has no getloadavg"
