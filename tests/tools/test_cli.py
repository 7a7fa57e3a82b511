"""Command lines made by ``create_cli``: options from parameters, in process and in a terminal."""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.common.messaging.bus import bus
from cascade.context import WorkflowContext, _current_context
from cascade.tools import cli as module

pytest.importorskip("typer", reason="typer is not installed (extra: cli)")

from typer.testing import CliRunner

from tests.tools.terminal import run_in_terminal


def refuse(text: str) -> Any:
    raise LookupError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@cs.task
def show(*values: Any) -> Any:
    return values


@pytest.fixture(autouse=True)
def context() -> Any:
    """Gives each test a context of its own, and leaves the message bus of the process without a renderer."""
    token = _current_context.set(WorkflowContext())
    yield
    _current_context.reset(token)
    bus.set_renderer(None)


def invoke(target: Any, *arguments: str) -> Any:
    """Runs the command line; errors that are no exits are raised."""
    result = CliRunner().invoke(cs.create_cli(target), [*arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def given(monkeypatch: pytest.MonkeyPatch, target: Any, *arguments: str) -> dict[str, Any]:
    """Returns what ``cascade.run`` is called with."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(cs, "run", lambda target, **options: calls.append({"target": target, **options}))
    result = invoke(target, *arguments)
    assert result.exit_code == 0, result.output
    assert result.output == ""
    return calls[0]


# ----------------------------------------------------------------------------------------------------------- parameters


def test_parameters_are_options() -> None:
    """The values come from the command line, as the declared types, and the result goes to standard output."""
    target = show(cs.Param("name"), cs.Param("count", 3, int), cs.Param("ratio", 0.5, float))

    assert invoke(target, "--name", "x").stdout == "('x', 3, 0.5)\n"
    assert invoke(target, "--name=y", "--count", "-7", "--ratio", "2").stdout == "('y', -7, 2.0)\n"


def test_help_says_what_was_declared() -> None:
    """Names, descriptions as they are, defaults, what is required, and the two options that every command line has."""
    target = show(cs.Param("name", description="who, e.g. [b]Ann[/b]"), cs.Param("count", 3, int, "how many"))
    result = invoke(target, "--help")
    lines = [re.sub(" +", " ", line).strip() for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert any(line.startswith("--name") and "who, e.g. [b]Ann[/b] [required]" in line for line in lines)
    assert any(line.startswith("--count") and "how many [default: 3]" in line for line in lines)
    assert any(line.startswith("--log-level") and "[default: INFO]" in line for line in lines)
    assert any(line.startswith("--log-format") and "[default: human]" in line for line in lines)
    assert "completion" not in result.stdout


def test_a_parameter_without_default_is_required() -> None:
    """The usage error names the option; nothing is run."""
    result = invoke(show(cs.Param("name")))

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Missing option '--name'" in result.stderr


@pytest.mark.parametrize(
    "kind, text",
    [
        *((int, "x"), (float, "x"), (Colour, "green"), (list, "{}"), (dict, "[")),
        *((lambda t: int(t, 16), "z"), (refuse, "x")),
    ],
)
def test_a_text_of_the_wrong_type_is_a_usage_error(kind: Any, text: str) -> None:
    """The error names the option."""
    result = invoke(show(cs.Param("value", type=kind)), "--value", text)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for '--value'" in result.stderr


@pytest.mark.parametrize(
    "kind, text, value",
    [
        *((str, "7", "7"), (Any, "7", "7"), (None, "7", "7"), (complex, "1+2j", 1 + 2j)),
        *((Path, "a/b", Path("a/b")), (Colour, "blue", Colour.BLUE)),
        *((list, "[1, 2]", [1, 2]), (dict, '{"k": null}', {"k": None}), (lambda t: int(t, 16), "ff", 255)),
    ],
)
def test_types(kind: Any, text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any type that takes a text will do; lists and dicts are written as JSON."""
    assert given(monkeypatch, show(cs.Param("value", type=kind)), "--value", text)["params"] == {"value": value}


def test_bools_are_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """On, off or as declared; without a default one of the two is required."""
    target = show(cs.Param("on", True, bool), cs.Param("off", False, bool))

    assert given(monkeypatch, target)["params"] == {"on": True, "off": False}
    assert given(monkeypatch, target, "--no-on", "--off")["params"] == {"on": False, "off": True}

    target = show(cs.Param("must", type=bool))
    assert invoke(target, "--log-level", "ERROR").exit_code == 2
    assert given(monkeypatch, target, "--no-must")["params"]["must"] is False


def test_defaults_are_passed_as_they_were_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not converted to the type of the option, nor copied."""
    default = [1]
    target = show(cs.Param("text", 5), cs.Param("items", default, list), cs.Param("colour", Colour.RED, Colour))
    params = given(monkeypatch, target)["params"]

    assert params == {"text": 5, "items": [1], "colour": Colour.RED}
    assert type(params["text"]) is int
    assert params["items"] is default


def test_run_gets_target_params_and_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """By keyword, and through the package, where it may be replaced."""
    target = show(cs.Param("name"))

    assert given(monkeypatch, target, "--name", "x", "--log-level", "DEBUG", "--log-format", "json") == {
        "target": target,
        "params": {"name": "x"},
        "log_level": "DEBUG",
        "log_format": "json",
    }


def test_only_parameters_of_the_current_context_count() -> None:
    """Environment variables are no options, nor are parameters of another context."""
    cs.Env("HOME_OF_NOBODY")

    assert invoke(show(1)).stdout == "(1,)\n"
    assert invoke(show(1), "--HOME_OF_NOBODY", "x").exit_code == 2


# ----------------------------------------------------------------------------------------------------------- odd names


@pytest.mark.parametrize(
    "name",
    ["log_level", "log_format", "p0", "p1", "self", "class", "1st", "user-name", "a.b", "with space", "größe", "-x"],
)
def test_any_name_is_an_option(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that Python does not allow, and names of our own parameters, included."""
    call = given(monkeypatch, show(cs.Param(name), cs.Param("p0", "other")), f"--{name}", "v", "--log-level", "ERROR")

    assert call["params"] == {"p0": "other", name: "v"}
    assert call["log_level"] == "ERROR"


@pytest.mark.parametrize("name", ["log-level", "log-format", "help"])
def test_a_parameter_called_like_a_built_in_option(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameter has the name, the built-in option another one."""
    target = show(cs.Param(name))

    assert given(monkeypatch, target, f"--{name}", "v")["params"] == {name: "v"}
    shown = invoke(target, "--cascade-help" if name == "help" else "--help").stdout
    assert f"--{name} " in shown
    assert f"--cascade-{name} " in shown


def test_the_built_in_option_does_its_work_under_its_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the parameters have that one, too."""
    target = show(cs.Param("log-level"), cs.Param("cascade-log-level", "c"))
    call = given(monkeypatch, target, "--log-level", "v", "--cascade-cascade-log-level", "DEBUG")

    assert call["params"] == {"log-level": "v", "cascade-log-level": "c"}
    assert call["log_level"] == "DEBUG"


def test_what_no_option_can_have_becomes_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slashes and equals signs; an option of exactly that name stays, the others are numbered."""
    target = show(*map(cs.Param, ["a/b", "a=b", "a-b", ""]))
    call = given(monkeypatch, target, "--a-b-2", "slash", "--a-b-3", "equals", "--a-b", "dash", "--param", "empty")

    assert call["params"] == {"a/b": "slash", "a=b": "equals", "a-b": "dash", "": "empty"}


@pytest.mark.parametrize("order", [1, -1])
def test_a_flag_leaves_the_name_of_another_parameter_alone(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--no-x`` is the parameter of that name, where there is one."""
    target = show(*(cs.Param(*one) for one in [("x", True, bool), ("no-x", "text")][::order]))

    assert given(monkeypatch, target, "--no-x", "v")["params"] == {"x": True, "no-x": "v"}


# --------------------------------------------------------------------------------------------------------------- output


def test_logs_go_to_standard_error() -> None:
    """Standard output has the result alone."""
    result = invoke(show(1), "--log-level", "INFO")

    assert result.stdout == "(1,)\n"
    assert "show" in result.stderr
    assert invoke(show(1), "--log-level", "ERROR").stderr == ""
    assert invoke(show(1), "--log-format", "json").stderr.startswith('{"timestamp"')


def test_none_is_not_printed() -> None:
    """A workflow without a result prints nothing."""
    assert invoke(cs.task(lambda: None, name="nothing")()).stdout == ""


def test_a_failure_is_raised() -> None:
    """The task's own exception, and a non-zero exit code."""

    @cs.task
    def fail() -> None:
        raise LookupError("gone")

    result = CliRunner().invoke(cs.create_cli(fail()), [])

    assert result.exit_code == 1
    assert isinstance(result.exception, LookupError)


def test_without_typer_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module can be imported all the same."""
    monkeypatch.setattr(module, "typer", None)

    with pytest.raises(ImportError, match=r"The 'typer' library is required.*pip install 'cascade-hot\[cli\]'"):
        cs.create_cli(show(1))


# ---------------------------------------------------------------------------------------------------------- a terminal

PROGRAM = """
import cascade as cs

@cs.task
def greet(name, times):
    secret = "hunter2"
    if times < 0:
        raise ValueError("times is negative")
    return "hello " * times + name

cs.create_cli(greet(cs.Param("name", description="who to greet"), cs.Param("times", 1, int)))()
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    file = tmp_path / "greeter.py"
    file.write_text(PROGRAM)
    return str(file)


@pytest.mark.skipif(os.name != "posix", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(
    "arguments, code, shown",
    [
        (["--name", "Ann", "--times", "2", "--log-level", "ERROR"], 0, ["hello hello Ann\n"]),
        (["--help"], 0, ["Usage: greeter.py [OPTIONS]", "--name", "who to greet", "[required]", "[default: 1]"]),
        ([], 2, ["Usage: greeter.py", "Missing option '--name'"]),
        (["--name", "Ann", "--times", "many"], 2, ["Invalid value for '--times'", "integer"]),
        (["--name", "Ann", "--nope"], 2, ["No such option: --nope"]),
        (["greet"], 2, ["Missing option '--name'"]),
        (["--name", "Ann", "--times", "-1"], 1, ["Traceback", "ValueError: times is negative"]),
    ],
    ids=["run", "help", "missing", "bad type", "unknown", "sub-command", "failure"],
)
def test_in_a_terminal(program: str, arguments: list[str], code: int, shown: list[str]) -> None:
    """Exit codes and texts that a user sees; never the values of variables."""
    exit_code, text = run_in_terminal(program, *arguments)

    assert exit_code == code, text
    for part in shown:
        assert part in text
    assert "hunter2" not in text
