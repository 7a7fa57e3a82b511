"""The command ``cascade gate``: a user's workflows against a baseline of theirs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cascade
from cascade.cli import _counted, _gate
from cascade.cli._interrupts import Interrupts
from cascade.cli._subjects import Workflow
from cascade.cli.main import main
from cascade.runtime.strategies import _runs
from cascade.tools.gate import instructions, picture
from cascade.tools.gate.measuring import ROUNDS
from cascade.tools.gate.recording import REPEATS
from cascade.tools.gate.verdicts import Kind
from tests.gates import Clock, virtual

FLOWS = """
import asyncio
import cascade as cs

#: Seconds of virtual time that a call takes, set by the tests.
COST = {"down": 0.001, "up": 0.002}
clock = None

@cs.resource
def lamp():
    yield "lit"

@cs.task
def down(n, lamp=cs.inject("lamp")):
    clock.now += COST["down"]
    return down(n - 1) if n else "end"

@cs.task
def up(box):
    clock.now += COST["up"]
    box.append(len(box))
    return up(box) if len(box) < 5 else box

@cs.task
def fails():
    raise ValueError("broken")

@cs.task
def leaves():
    raise SystemExit(0)

@cs.task
async def cancels():
    raise asyncio.CancelledError

@cs.task
def chatters():
    clock.now += 0.001
    print("chatter")
    return 1

def main():
    return down(9)

def other():
    return up([])

def sized():
    return down(cs.Param("size", type=int))

def number():
    return 3

five = 5
"""


class Flows:
    """A file of workflows in virtual time, and the command for it."""

    def __init__(self, path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.clock = clock
        self.costs: dict[str, float] = {}
        self._capsys = capsys

    @property
    def baseline(self) -> Path:
        """Where the baseline is, unless told."""
        return self.path.with_name("flows.gate.json")

    def gate(self, *arguments: str) -> tuple[int, str, str]:
        """Runs the command; returns exit code, standard output and standard error."""
        code = main(["gate", str(self.path), *arguments])
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err

    def record(self, *names: str) -> None:
        """Records a baseline."""
        code, out, _ = self.gate(*names, "--update", "--reason", "a test")

        assert (code, out) == (0, "")


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Flows:
    """The file; what a command leaves behind in this process is put back."""
    from cascade.context import get_current_context

    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(get_current_context(), "input_specs", {})
    path = tmp_path / "flows.py"
    path.write_text(FLOWS, encoding="utf-8")
    clock = virtual(monkeypatch)
    flows = Flows(path, clock, capsys)
    load: Callable[[str], Any] = _gate.workflows.__globals__["load_file"]

    def load_file(place: str) -> Any:
        module = load(place)
        module.clock = clock
        module.COST.update(flows.costs)
        sys.modules.pop(module.__name__)
        return module

    monkeypatch.setitem(_gate.workflows.__globals__, "load_file", load_file)
    # A step of the plain loop takes a microsecond of the clock that only the workflows move otherwise.
    monkeypatch.setitem(_gate.subject_of.__globals__, "trampoline", clock.worker("yardstick", 1_000_000))
    return flows


# --------------------------------------------------------------------------------------------------------- what it does


def test_unchanged_workflows_pass(flows: Flows) -> None:
    """What was recorded passes: one row for each workflow, and a last line that says so."""
    flows.record("main", "other")

    code, out, err = flows.gate()

    assert (code, err) == (0, "")
    assert re.findall(r"^(ok)\s+(\w+) .* (\d+)% +(\d+)%", out, re.MULTILINE) == [
        ("ok", "main", "100", "80"),
        ("ok", "other", "100", "80"),
    ]
    assert out.endswith("2 rows within their limits\n")


def test_slower_workflow_fails(flows: Flows) -> None:
    """A workflow whose calls take 1.5 times as long is stopped with exit code 1, and the other one is not."""
    flows.record("main", "other")
    flows.costs = {"down": 0.0015}

    code, out, err = flows.gate()

    assert code == 1
    assert err == "cascade: main fell to 67% of its recorded speed, at best\n"
    assert "SLOWER  main" in out
    assert "ok      other" in out
    assert out.endswith("1 of 2 rows beyond its limit\n")


def test_workflow_that_makes_more_calls_fails(flows: Flows) -> None:
    """A run that takes longer because it does more is slower for its user, who is told about the calls."""
    flows.record()
    flows.path.write_text(FLOWS.replace("down(9)", "down(19)"), encoding="utf-8")

    code, out, err = flows.gate()

    assert code == 1
    assert "cascade: a run of main makes 20 calls; when it was recorded, 10\n" in err
    assert "SLOWER  main" in out


def test_each_run_is_made_anew(flows: Flows) -> None:
    """A function is called for each run: what a run does to its arguments is not there in the next."""
    flows.record("other")

    assert json.loads(flows.baseline.read_text(encoding="utf-8"))["time"]["other"]["calls"] == 5


def test_names_may_be_chosen(flows: Flows) -> None:
    """Names stand after the file, or one behind a colon; without any, all rows of the baseline are checked."""
    flows.record("main", "other")

    assert "other" not in flows.gate("main")[1]
    assert main(["gate", f"{flows.path}:other"]) == 0
    assert flows.gate("main", "other", "main")[1].endswith("2 rows within their limits\n")


def test_baseline_may_lie_elsewhere(flows: Flows, tmp_path: Path) -> None:
    """--baseline names the file."""
    path = tmp_path / "b.json"

    assert flows.gate("--update", "--reason", "r", "--baseline", str(path))[0] == 0
    assert flows.gate("--baseline", str(path))[0] == 0
    assert not flows.baseline.exists()


def test_update_of_one_row_keeps_the_others(flows: Flows) -> None:
    """Only what is named is recorded anew; without names, all that is there."""
    flows.record("main", "other")
    flows.costs = {"down": 0.002, "up": 0.004}

    flows.record("main")
    assert [line.split()[0] for line in flows.gate()[1].splitlines()[1:3]] == ["ok", "SLOWER"]
    flows.record()
    assert flows.gate()[0] == 0


def test_rounds_are_obeyed(flows: Flows) -> None:
    """As many rounds as asked, of each workload and its yardstick, and one that does not count."""
    flows.record()
    counts = []
    for arguments in ([], ["--rounds", "3"]):
        flows.clock.spent.clear()
        flows.gate(*arguments)
        counts.append(flows.clock.spent.count("yardstick"))

    assert counts[0] - counts[1] == ROUNDS - 3


def test_params_are_given(flows: Flows) -> None:
    """--param works as for cascade run."""
    flows.record("sized", "--param", "size=4")

    assert flows.gate("--param", "size=4")[0] == 0
    assert flows.gate("--param", "size=9")[0] == 1
    code, _, err = flows.gate()
    assert (code, err.count("\n")) == (2, 1)
    assert "parameter 'size' has no default" in err


def test_what_workflows_print_is_no_report(flows: Flows) -> None:
    """Standard output is the gate's alone."""
    flows.record("chatters")

    code, out, err = flows.gate("--json")

    assert code == 0
    assert json.loads(out)["passed"] is True
    assert "chatter\n" in err


def test_json_has_all_that_the_table_has(flows: Flows) -> None:
    """One object: verdict, rows, notes, places, reason."""
    flows.record("main", "other")
    flows.costs = {"down": 0.0015}

    code, out, _ = flows.gate("--json")
    found = json.loads(out)

    assert (code, found["passed"], found["reason"], found["picture"]) == (1, False, "a test", None)
    assert found["here"] == found["recorded"]
    assert [(row["kind"], row["name"], row["verdict"], row["passed"]) for row in found["rows"]] == [
        ("time", "main", "SLOWER", False),
        ("time", "other", "ok", True),
    ]
    assert found["rows"][0]["share"] == pytest.approx(1 / 1.5)
    assert found["rows"][0]["limit"] == pytest.approx(0.8)


@pytest.mark.skipif(bool(picture.why_not()), reason=picture.why_not() or "draws")
def test_picture_is_drawn(flows: Flows, tmp_path: Path) -> None:
    """--picture draws, and the path is told."""
    flows.record()
    path = tmp_path / "gate.svg"

    assert f"\npicture: {path}\n" in flows.gate("--picture", str(path))[1]
    assert json.loads(flows.gate("--json", "--picture", str(path))[1])["picture"] == str(path)
    assert "main" in path.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ what it refuses


def refused(flows: Flows, *arguments: str) -> str:
    """Sees that the command ends with 2 and prints one line, on standard error; returns it."""
    code, out, err = flows.gate(*arguments)
    [line] = err.splitlines()

    assert (code, out) == (2, "")
    assert line.startswith("cascade: ")
    return line


def test_a_file_that_is_not_there_is_told_before_its_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt name is no reason to record anything."""
    code = main(["gate", str(tmp_path / "flwo.py")])

    assert code == 2
    assert f"no file {tmp_path / 'flwo.py'}" in capsys.readouterr().err


def test_without_a_baseline_it_says_how_to_record_one(flows: Flows) -> None:
    """The path is named, and the remedy."""
    assert re.search(r"no baseline .*flows\.gate\.json; record one with --update --reason TEXT", refused(flows))


def test_broken_baseline_is_told_and_can_be_recorded_over(flows: Flows) -> None:
    """A file that is no baseline is not judged by; an update with a reason replaces it."""
    flows.baseline.write_text("{}", encoding="utf-8")

    assert "is not a baseline" in refused(flows)
    flows.record()
    assert flows.gate()[0] == 0


@pytest.mark.parametrize(
    "name, text",
    [
        ("absent", "has no 'absent'; name one of these: flows.py:"),
        ("five", "is of type int; name a lazy result"),
        ("number", "returned a value of type int"),
        ("other", "the baseline has no time of other; record it anew with --update --reason TEXT"),
    ],
)
def test_wrong_names_are_told(flows: Flows, name: str, text: str) -> None:
    """What is not there, cannot run, or has no row is named."""
    flows.record("main")

    assert text in refused(flows, name)


def test_row_without_a_workflow_is_told(flows: Flows) -> None:
    """A workflow cannot leave the file without its row being noticed."""
    flows.record("main", "other")
    flows.path.write_text(FLOWS.replace("def other", "def renamed"), encoding="utf-8")

    line = refused(flows)
    assert "has no 'other'" in line
    assert "the baseline names it; to record others instead, give their names with --update --reason TEXT" in line


def test_baseline_of_another_machine_is_refused(flows: Flows) -> None:
    """Ratios mean nothing elsewhere."""
    flows.record()
    content = json.loads(flows.baseline.read_text(encoding="utf-8"))
    content["recorded"]["machine"] = "pdp11"
    flows.baseline.write_text(json.dumps(content), encoding="utf-8")

    assert "recorded elsewhere (machine pdp11, here" in refused(flows)


def test_missing_file_is_told(flows: Flows) -> None:
    """The file comes first."""
    flows.record()
    flows.path.unlink()

    assert "no file" in refused(flows)


@pytest.mark.parametrize(
    "text, last", [("import no_such_module_at_all", "ModuleNotFoundError"), ("def f(:", "SyntaxError")]
)
def test_file_that_cannot_be_imported_is_told(flows: Flows, text: str, last: str) -> None:
    """Exit code 2 and the user's own traceback."""
    flows.path.write_text(text, encoding="utf-8")

    code, out, err = flows.gate("--update", "--reason", "r")

    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(last)
    assert not flows.baseline.exists()


def test_workflow_that_raises_is_told(flows: Flows) -> None:
    """Exit code 2 and the user's own traceback; nothing is recorded."""
    code, out, err = flows.gate("fails", "--update", "--reason", "r")

    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "ValueError: broken"
    assert not flows.baseline.exists()


@pytest.mark.parametrize(
    "name, text", [("leaves", "has ended the process (SystemExit: 0)"), ("cancels", "cancelled by a task")]
)
def test_no_workflow_can_end_the_gate(flows: Flows, name: str, text: str) -> None:
    """A workflow that exits with 0 or cancels itself does not pass for it."""
    assert text in refused(flows, name, "--update", "--reason", "r")


def test_file_that_exits_does_not_pass(flows: Flows) -> None:
    """A script without a guard that ends with sys.exit(0) has not been judged."""
    flows.path.write_text("raise SystemExit(0)", encoding="utf-8")

    assert "ended the process" in refused(flows, "--update", "--reason", "r")


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--update"], "--update needs --reason TEXT"),
        (["--update", "--reason", "  "], "--update needs --reason TEXT"),
        (["--reason", "r"], "--reason goes with --update"),
        (["--update", "--reason", "r", "--json"], "--json and --picture show a check"),
        (["--rounds", "0"], "must be at least 1"),
        (["--rounds", "many"], "invalid"),
        (["--param", "x"], "is not of the form name=value"),
    ],
)
def test_wrong_usage_is_told(flows: Flows, arguments: list[str], text: str) -> None:
    """Exit code 2, and the baseline stays as it is."""
    flows.record()
    before = flows.baseline.read_bytes()

    with pytest.raises(SystemExit) as stopped:
        flows.gate(*arguments)

    assert stopped.value.code == 2
    assert text in flows._capsys.readouterr().err
    assert flows.baseline.read_bytes() == before


def test_picture_without_matplotlib_is_refused_before_measuring(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for a picture hears at once what to install; without the wish the gate works."""
    flows.record()
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert "pip install 'cascade-hot[plot]'" in refused(flows, "--picture", "gate.png")
    assert flows.gate()[0] == 0


def test_interrupt_ends_with_130(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a run is an interrupt and no verdict."""
    flows.record()
    text = FLOWS.replace('COST["down"]\n', 'COST["down"]\n    __import__("signal").raise_signal(2)\n')
    flows.path.write_text(text, encoding="utf-8")

    code, out, err = flows.gate()

    assert (code, out) == (130, "")
    assert err.startswith("cascade: interrupted")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --------------------------------------------------------------------------------------------------------- instructions


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Counts that are made without valgrind."""
    counts = {"main": 1_000.0}
    monkeypatch.setattr(instructions, "why_not", lambda: "")
    monkeypatch.setattr(instructions, "count", lambda command: dict(counts))
    return counts


def test_instructions_are_counted_where_they_were_recorded(flows: Flows, counts: dict[str, float]) -> None:
    """--instructions records rows of their own; from then on they are checked, unless told otherwise."""
    flows.record("--instructions")

    assert len(flows.gate()[1].splitlines()) == 1 + 2 + 1
    counts["main"] = 1_050.0
    code, out, err = flows.gate()
    assert code == 1
    assert "MORE    main" in out
    assert err == "cascade: main takes 5.0% more instructions than recorded; 3.1% are tolerated\n"
    assert flows.gate("--no-instructions")[0] == 0


def test_instructions_stay_when_recorded_anew(flows: Flows, counts: dict[str, float]) -> None:
    """An update counts again what was counted, and --no-instructions lets the rows go."""
    flows.record("--instructions")
    flows.record()
    assert len(json.loads(flows.baseline.read_text(encoding="utf-8"))[Kind.INSTRUCTIONS.title]) == 1
    flows.record("--no-instructions")
    assert json.loads(flows.baseline.read_text(encoding="utf-8"))[Kind.INSTRUCTIONS.title] == {}


def test_instructions_that_were_not_recorded_are_refused(flows: Flows, counts: dict[str, float]) -> None:
    """Who asks for them against a baseline without gets told."""
    flows.record()

    assert "the baseline has no instructions of main" in refused(flows, "--instructions")


def test_without_valgrind_it_is_said(flows: Flows, counts: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are left out, with the reason, and time is judged."""
    flows.record("--instructions")
    monkeypatch.setattr(instructions, "why_not", lambda: "valgrind is not installed")

    code, out, err = flows.gate()

    assert (code, err) == (0, "cascade: instructions are not compared: valgrind is not installed\n")
    assert out.endswith("1 row within its limit\n")


def test_long_workflows_are_not_counted(flows: Flows, counts: dict[str, float]) -> None:
    """Where counting would take minutes it is left out, and said how long it would take."""
    flows.record("--instructions")
    flows.costs = {"down": 0.05}  # half a second a run

    assert "that would take some 3 minutes; name shorter workflows" in flows.gate()[2]


def test_counted_program_runs_the_workflows(
    flows: Flows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What valgrind would run says for each workflow how many runs its short and its long work made."""
    monkeypatch.setattr(_runs, "_SHARED_QUANTUM", _runs._SHARED_QUANTUM)
    told = tmp_path / "units.json"

    _counted.main([str(flows.path), '[["size", "3"]]', "sized", "other", str(told)])

    assert json.loads(told.read_text(encoding="utf-8")) == [["sized", 1, 3], ["other", 1, 3]]


@pytest.mark.slow
@pytest.mark.skipif(bool(instructions.why_not()), reason=instructions.why_not() or "counts")
def test_real_instructions_of_a_workflow(tmp_path: Path) -> None:
    """By valgrind: a run of twice as many steps takes about twice as many instructions."""
    path = tmp_path / "counted.py"
    path.write_text(
        "import cascade as cs\n@cs.task\ndef down(n):\n    return down(n - 1) if n else 0\n"
        "def some():\n    return down(2000)\ndef twice():\n    return down(4000)\n",
        encoding="utf-8",
    )
    found = _gate._counter(str(path), ["some", "twice"], 0.0, []).count()

    assert list(found) == ["some", "twice"]
    assert 1.6 < found["twice"] / found["some"] < 2.0


def test_round_lasts_long_enough(flows: Flows) -> None:
    """Short workflows run several times in a round, long ones once."""

    def calibrated(seconds: float) -> tuple[int, float]:
        workflow = Workflow("x", lambda: None, {}, [], Interrupts())

        def run(times: int) -> int:
            flows.clock.now += seconds * times
            return times

        workflow.run = run  # type: ignore[method-assign]
        return workflow.calibrate()

    assert calibrated(0.5) == (1, pytest.approx(0.5))
    assert calibrated(0.01) == (2, pytest.approx(0.01))
    assert calibrated(0.0)[0] == 4096


@pytest.mark.slow
def test_a_baseline_is_learnt_in_several_processes(tmp_path: Path) -> None:
    """Where the one process has its memory does not decide: the others are given the same names, values and rounds."""
    (tmp_path / "flow.py").write_text(
        "import os, cascade as cs\n"
        "@cs.task\n"
        "def note(value):\n"
        "    with open('log', 'a') as log:\n"
        "        print(os.getpid(), value, file=log)\n"
        "def main():\n"
        "    return note(cs.Param('value'))\n",
        encoding="utf-8",
    )
    given = ["--param", "value=9", "--rounds", "2", "--update", "--reason", "first"]
    environment = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])}
    command = [sys.executable, "-m", "cascade", "gate", "flow.py", *given]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)

    lines = set((tmp_path / "log").read_text(encoding="utf-8").splitlines())
    assert {line.split()[1] for line in lines} == {"9"}
    assert len(lines) == REPEATS
    assert (tmp_path / "flow.gate.json").exists()


def test_other_commands_do_without() -> None:
    """``import cascade`` loads nothing of the gate, and ``cascade run`` only what declares its options."""
    program = (
        "import sys, cascade\n"
        "print(sorted(name for name in sys.modules if name.startswith('cascade.tools')))\n"
        "from cascade.cli import main\n"
        "print(sorted(name for name in sys.modules if name.startswith(('cascade.tools', 'cascade.cli._gate'))))\n"
        "print('matplotlib' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    known = ["cascade.tools", "cascade.tools._texts", "cascade.tools.gate", "cascade.tools.gate.command"]
    assert done.stdout.splitlines() == ["[]", str(known), "False"]
