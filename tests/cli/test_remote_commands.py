"""``cascade control``, ``watch`` and ``status``: the same commands as cs-controller and cs-observer, with argparse."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.metadata import entry_points
from unittest import mock

import pytest

from cascade.cli.controller import app as controller
from cascade.cli.main import main
from cascade.cli.observer import app as observer
from cascade.cli.observer import rendering
from tests.cli.consoles import ConnectorThatNotes, environment

PLACE = {"backend": "mqtt", "hostname": "localhost", "port": 1883}
ELSEWHERE = ["--backend", "local", "--host", "h", "--port", "9"]
THERE = {"backend": "local", "hostname": "h", "port": 9}


def code_of(*arguments):
    """Returns the exit code of the command, whichever way it comes."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(
    "arguments, module, name, expected",
    [
        (["control", "pause"], controller, "_publish_pause", {"scope": "global", "ttl": None, **PLACE}),
        (
            ["control", "pause", "task:a", "--ttl", "5", *ELSEWHERE],
            controller,
            "_publish_pause",
            {"scope": "task:a", "ttl": 5, **THERE},
        ),
        (["control", "resume"], controller, "_publish_resume", {"scope": "global", **PLACE}),
        (["control", "resume", "task:a", *ELSEWHERE], controller, "_publish_resume", {"scope": "task:a", **THERE}),
        (
            ["control", "set-limit", "--scope", "global", "--rate", "5/s"],
            controller,
            "_publish_limit",
            {"scope": "global", "concurrency": None, "rate": "5/s", "ttl": None, **PLACE},
        ),
        (
            ["control", "set-limit", "--scope", "task:a", "--concurrency", "2", "--ttl", "5", *ELSEWHERE],
            controller,
            "_publish_limit",
            {"scope": "task:a", "concurrency": 2, "rate": None, "ttl": 5, **THERE},
        ),
        (["watch"], observer, "_run_mqtt_watcher", {"project": "default", "hostname": "localhost", "port": 1883}),
        (
            ["watch", "--project", "p", "--host", "h", "--port", "9"],
            observer,
            "_run_mqtt_watcher",
            {"project": "p", "hostname": "h", "port": 9},
        ),
        (["watch", "--backend", "local"], observer, "_run_uds_watcher", {}),
        (["status"], observer, "_get_status", PLACE),
        (["status", "--backend", "local", "--hostname", "h", "--port", "9"], observer, "_get_status", THERE),
    ],
)
def test_arguments_reach_the_one_implementation(monkeypatch, arguments, module, name, expected):
    """Each command calls what cs-controller or cs-observer calls, with the same keywords and defaults."""
    callee = mock.AsyncMock()
    monkeypatch.setattr(module, name, callee)

    assert code_of(*arguments) == 0
    callee.assert_awaited_once_with(**expected)


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["control"], "ACTION"),
        (["control", "walk"], "walk"),
        (["control", "set-limit"], "--scope"),
        (["control", "pause", "a/b"], "'/'"),
        (["control", "pause", ""], "scope"),
        (["control", "pause", "--ttl", "-1"], "--ttl"),
        (["control", "pause", "--ttl", "x"], "--ttl"),
        (["control", "set-limit", "--scope", "global", "--rate", "abc"], "'abc'"),
        (["control", "set-limit", "--scope", "global", "--concurrency", "0"], "--concurrency"),
        (["control", "resume", "--backend", "x"], "--backend"),
        (["control", "resume", "--host", "ann:secret@"], "--host"),
        (["watch", "--project", "#"], "--project"),
        (["watch", "--backend", "x"], "--backend"),
        (["status", "--port", "0"], "--port"),
    ],
)
def test_wrong_usage_ends_with_2(monkeypatch, capsys, arguments, named):
    """The usage, a line that names what is wrong, and no connection."""
    connector = ConnectorThatNotes()
    for module in (controller, observer):
        monkeypatch.setattr(module, "MqttConnector", connector)

    assert code_of(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: cascade")
    assert named in shown.err.splitlines()[-1]
    assert "secret" not in shown.err
    assert connector.done == []


def test_a_limit_without_a_number_is_refused(capsys):
    """With the published text and exit code."""
    assert code_of("control", "set-limit", "--scope", "global") == 1
    assert capsys.readouterr().err == "Error: Must provide either --concurrency or --rate.\n"


def test_messages_go_to_standard_error(monkeypatch, capsys):
    """What fails ends with 1; the renderer is gone afterwards."""
    monkeypatch.setattr(controller, "MqttConnector", ConnectorThatNotes(publish=OSError("no route")))

    assert code_of("control", "pause") == 1
    controller.bus.info("controller.connected")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1] == "❌ no route"
    assert shown.err.startswith("🔌 ")


def test_an_interrupt_ends_with_130(monkeypatch, capsys):
    """Ctrl-C while connecting; the connector is disconnected."""
    connector = ConnectorThatNotes(connect=KeyboardInterrupt())
    monkeypatch.setattr(controller, "MqttConnector", connector)

    assert code_of("control", "pause") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "cascade: interrupted"
    assert connector.done == ["connect", "disconnect"]


def test_ctrl_c_is_left_to_the_event_loop(monkeypatch):
    """It cancels what waits, which then cleans up; ``cascade run`` has a way of its own."""
    handlers = []

    async def watcher(**given):
        handlers.append(signal.getsignal(signal.SIGINT))

    monkeypatch.setattr(observer, "_run_mqtt_watcher", watcher)

    assert code_of("watch") == 0
    assert "Runner._on_sigint" in repr(handlers)


def test_watch_needs_rich(monkeypatch, capsys):
    """One line with the remedy."""
    monkeypatch.setattr(rendering, "rich", None)

    assert code_of("watch") == 1
    assert (
        capsys.readouterr().err == "cascade: RichCliRenderer needs the 'rich' library: pip install 'cascade-hot[cli]'\n"
    )


WITHOUT = """
import sys
for name in ("typer", "rich", *sys.argv[1].split()):
    sys.modules[name] = None
from cascade.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    "missing, arguments, code, last",
    [
        ("", ["control", "pause", "--backend", "mqtt", "--port", "x"], 2, "invalid int value: 'x'"),
        ("", ["control", "pause", "--ttl", "0"], 2, "--ttl: 0 is no time to live"),
        ("aiomqtt", ["control", "pause"], 1, "cascade-hot[mqtt]"),
        ("", ["watch"], 1, "cascade-hot[cli]"),
        ("", ["status"], 1, "cascade-hot[cli]"),
    ],
)
def test_control_needs_neither_typer_nor_rich(tmp_path, missing, arguments, code, last):
    """Only what is really used is asked for, with its extra."""
    command = [sys.executable, "-c", WITHOUT, missing, *arguments]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60)

    assert done.returncode == code, done.stderr
    assert last in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_other_commands_load_nothing_of_this():
    """``cascade run`` stays as light as it is."""
    script = (
        "import sys; from cascade.cli.main import _parser; _parser()\n"
        "heavy = ('typer', 'rich', 'aiomqtt', 'sqlite3', 'cascade.connectors', 'cascade.cli.controller')\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name, module", [("cs-controller", controller), ("cs-observer", observer)])
def test_programs_are_declared(name, module):
    """An installation has them under the published names."""
    [declared] = entry_points(group="console_scripts", name=name)

    assert declared.load() is module.main
