"""The command ``cs-controller``, with a connector that only notes: what it sends, says and returns."""

from __future__ import annotations

import asyncio
import time
from unittest import mock

import pytest

from cascade.cli._usage import UsageError
from cascade.cli.controller import app as controller
from tests.cli.consoles import ConnectorThatNotes, MessagesThatAreNoted

typer_testing = pytest.importorskip("typer.testing", reason="needs typer: pip install 'cascade-hot[cli]'")

PLACE = {"backend": "mqtt", "hostname": "localhost", "port": 1883}


def invoke(*arguments: str):
    return typer_testing.CliRunner().invoke(controller.app, arguments)


@pytest.fixture
def messages(monkeypatch):
    """The message bus of the command."""
    noted = MessagesThatAreNoted()
    monkeypatch.setattr(controller, "bus", noted)
    return noted


@pytest.fixture
def connector(monkeypatch):
    """The connector of both backends."""
    made = ConnectorThatNotes()
    for name in ("MqttConnector", "LocalConnector"):
        monkeypatch.setattr(controller, name, made)
    return made


# ----------------------------------------------------------------------------------------------- arguments to callables


def called_with(monkeypatch, name, *arguments):
    """Returns the keywords that a command calls one of the callables behind it with."""
    callee = mock.AsyncMock()
    monkeypatch.setattr(controller, name, callee)
    result = invoke(*arguments)

    assert result.exit_code == 0, result.output
    callee.assert_awaited_once()
    assert callee.await_args.args == ()
    return callee.await_args.kwargs


@pytest.mark.row(
    "08-tools-cli-testing",
    "Command line tools (entry points cs-controller, cs-observer)",
    "cs-controller pause [SCOPE=global]",
)
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], {"scope": "global", "ttl": None, **PLACE}),
        (["task:api_*"], {"scope": "task:api_*", "ttl": None, **PLACE}),
        (
            ["global", "--ttl", "60", "--backend", "local", "--host", "there", "--port", "99"],
            {"scope": "global", "ttl": 60, "backend": "local", "hostname": "there", "port": 99},
        ),
    ],
)
def test_pause_calls_its_callable_with_keywords(monkeypatch, arguments, expected):
    """Scope, ttl and place arrive as given or by default."""
    assert called_with(monkeypatch, "_publish_pause", "pause", *arguments) == expected


@pytest.mark.row(
    "08-tools-cli-testing",
    "Command line tools (entry points cs-controller, cs-observer)",
    "cs-controller resume [SCOPE=global]",
)
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], {"scope": "global", **PLACE}),
        (
            ["task:a", "--backend", "local", "--host", "there", "--port", "99"],
            {"scope": "task:a", "backend": "local", "hostname": "there", "port": 99},
        ),
    ],
)
def test_resume_calls_its_callable_with_keywords(monkeypatch, arguments, expected):
    """Scope and place arrive as given or by default."""
    assert called_with(monkeypatch, "_publish_resume", "resume", *arguments) == expected


@pytest.mark.row(
    "08-tools-cli-testing", "Command line tools (entry points cs-controller, cs-observer)", "cs-controller set-limit"
)
@pytest.mark.parametrize(
    "arguments, expected",
    [
        (
            ["--scope", "global", "--concurrency", "5"],
            {"scope": "global", "concurrency": 5, "rate": None, "ttl": None, **PLACE},
        ),
        (
            ["--scope", "task:a", "--rate", "10/m", "--ttl", "9", "--backend", "local", "--host", "h", "--port", "1"],
            {
                "scope": "task:a",
                "concurrency": None,
                "rate": "10/m",
                "ttl": 9,
                "backend": "local",
                "hostname": "h",
                "port": 1,
            },
        ),
    ],
)
def test_set_limit_calls_its_callable_with_keywords(monkeypatch, arguments, expected):
    """Scope, limits, ttl and place arrive as given or by default."""
    assert called_with(monkeypatch, "_publish_limit", "set-limit", *arguments) == expected


@pytest.mark.row(
    "08-tools-cli-testing", "Command line tools (entry points cs-controller, cs-observer)", "cs-controller set-limit"
)
def test_set_limit_needs_a_scope():
    """There is no default for what a limit concerns."""
    result = invoke("set-limit", "--rate", "1/s")

    assert result.exit_code == 2
    assert "--scope" in result.stderr


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["pause", ""], "scope"),
        (["pause", " "], "scope"),
        (["pause", "task:"], "scope"),
        (["pause", "task:#"], "'#'"),
        (["pause", "task:+"], "'+'"),
        (["pause", "task/a"], "'/'"),
        (["pause", "task:\x00"], "scope"),
        (["pause", "task:\ud800"], "scope"),
        (["pause", "task:" + "x" * 70_000], "bytes"),
        (["resume", "#"], "'#'"),
        (["set-limit", "--scope", "", "--rate", "1/s"], "scope"),
        (["pause", "--ttl", "-1"], "--ttl"),
        (["pause", "--ttl", "0"], "--ttl"),
        (["pause", "--ttl", "9" * 400], "--ttl"),
        (["pause", "--ttl", "soon"], "--ttl"),
        (["set-limit", "--scope", "global", "--rate", "1/s", "--ttl", "-1"], "--ttl"),
        (["set-limit", "--scope", "global", "--concurrency", "0"], "--concurrency"),
        (["set-limit", "--scope", "global", "--concurrency", "-2"], "--concurrency"),
        (["set-limit", "--scope", "global", "--concurrency", "many"], "--concurrency"),
        (["set-limit", "--scope", "global", "--rate", "abc"], "'abc'"),
        (["set-limit", "--scope", "global", "--rate", "5/day"], "unit"),
        (["set-limit", "--scope", "global", "--rate", "nan"], "'nan'"),
        (["set-limit", "--scope", "global", "--rate", "inf/s"], "'inf"),
        (["set-limit", "--scope", "global", "--rate", ""], "--rate"),
        (["set-limit", "--scope", "global", "--rate", "0/s"], "--rate"),
        (["set-limit", "--scope", "global", "--rate", "-1"], "--rate"),
        (["pause", "--port", "0"], "--port"),
        (["pause", "--port", "65536"], "--port"),
        (["pause", "--host", ""], "--host"),
        (["pause", "--host", "a b"], "--host"),
        (["pause", "--backend", "carrier-pigeon"], "'carrier-pigeon'"),
        (["pause", "--backend", ""], "--backend"),
        (["walk"], "walk"),
    ],
)
def test_bad_input_is_refused_before_anything_is_done(messages, connector, arguments, named):
    """Exit code 2, a line that names what is wrong, no connection, nothing on standard output."""
    result = invoke(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert connector.done == []
    assert messages.seen == []


@pytest.mark.parametrize(
    "rate", ["5", "2.5/s", "1/sec", "1/second", "10/m", "10/min", "3/minute", "1/h", "1/HR", "2 / hour"]
)
def test_every_way_to_write_a_rate_is_taken(messages, connector, rate):
    """What an engine understands is sent as it was written."""
    result = invoke("set-limit", "--scope", "global", "--rate", rate)

    assert result.exit_code == 0
    assert connector.done[1][2]["params"] == {"rate": rate}


def test_a_limit_without_a_number_is_refused(messages, connector):
    """The text is published; the exit code is 1."""
    result = invoke("set-limit", "--scope", "global")

    assert result.exit_code == 1
    assert result.stderr == "Error: Must provide either --concurrency or --rate.\n"
    assert result.stdout == ""
    assert connector.done == []


# ------------------------------------------------------------------------------------------------------- what they send


def test_pause_sends_a_retained_constraint(messages, connector):
    """All five fields of a constraint without parameters or end, on the topic of the scope."""
    asyncio.run(controller._publish_pause(scope="task:api_*", ttl=None, **PLACE))
    payload = {"id": "pause-task:api_*", "scope": "task:api_*", "type": "pause", "params": {}, "expires_at": None}

    assert connector.done == ["connect", ("publish", "cascade/constraints/task/api_*", payload, True), "disconnect"]
    assert connector.made_with == {"hostname": "localhost", "port": 1883}


@pytest.mark.parametrize(
    "limits, payloads",
    [
        ({"concurrency": 5}, [("concurrency-global", "concurrency", {"limit": 5})]),
        ({"rate": "10/m"}, [("ratelimit-global", "rate_limit", {"rate": "10/m"})]),
        (
            {"concurrency": 5, "rate": "10/m"},
            [("concurrency-global", "concurrency", {"limit": 5}), ("ratelimit-global", "rate_limit", {"rate": "10/m"})],
        ),
    ],
)
def test_limits_send_a_retained_constraint_each(messages, connector, limits, payloads):
    """One for concurrency and one for the rate, each with its id and parameters."""
    given = {"concurrency": None, "rate": None, **limits}
    asyncio.run(controller._publish_limit(scope="global", ttl=None, **given, **PLACE))
    sent = [what for what in connector.done if what[0] == "publish"]

    assert [(topic, retain) for _, topic, _, retain in sent] == [("cascade/constraints/global", True)] * len(payloads)
    assert [(p["id"], p["type"], p["params"]) for _, _, p, _ in sent] == payloads
    assert all((p["scope"], p["expires_at"]) == ("global", None) for _, _, p, _ in sent)


def test_resume_sends_an_empty_retained_payload(messages, connector):
    """It lifts every constraint of the scope."""
    asyncio.run(controller._publish_resume(scope="task:a:b", **PLACE))

    assert connector.done == ["connect", ("publish", "cascade/constraints/task/a/b", {}, True), "disconnect"]


def test_a_time_to_live_becomes_a_moment(messages, connector, monkeypatch):
    """``expires_at`` is Unix time: now and the seconds given, for pause and limits alike."""
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    asyncio.run(controller._publish_pause(scope="global", ttl=60, **PLACE))
    asyncio.run(controller._publish_limit(scope="global", concurrency=1, rate="1/s", ttl=30, **PLACE))
    moments = [what[2]["expires_at"] for what in connector.done if what[0] == "publish"]

    assert moments == [1060.0, 1030.0, 1030.0]


# -------------------------------------------------------------------------------------------------------- what they say


CONNECTING = [("info", "controller.connecting", PLACE), ("info", "controller.connected", {})]
TOPIC = {"scope": "global", "topic": "cascade/constraints/global"}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["pause"], [("controller.publishing", TOPIC), ("controller.publish_success", {})]),
        (["resume"], [("controller.resuming", TOPIC), ("controller.resume_success", {})]),
        (
            ["set-limit", "--scope", "global", "--concurrency", "5"],
            [("controller.publishing_limit", {**TOPIC, "limit": 5}), ("controller.publish_limit_success", {})],
        ),
        (
            ["set-limit", "--scope", "global", "--rate", "5/s"],
            [("controller.publishing_rate", {**TOPIC, "rate": "5/s"}), ("controller.publish_limit_success", {})],
        ),
        (
            ["set-limit", "--scope", "global", "--rate", "5/s", "--concurrency", "5"],
            [
                ("controller.publishing_limit", {**TOPIC, "limit": 5}),
                ("controller.publishing_rate", {**TOPIC, "rate": "5/s"}),
                ("controller.publish_limit_success", {}),
            ],
        ),
    ],
)
def test_messages_come_in_order(messages, connector, arguments, said):
    """Connecting, connected, publishing, success; each with its data."""
    result = invoke(*arguments)

    assert result.exit_code == 0
    assert messages.seen == [*CONNECTING, *(("info", msg_id, data) for msg_id, data in said)]
    assert result.stdout == ""


def test_a_scope_that_no_engine_knows_is_sent_with_a_warning(messages, connector):
    """A slip such as ``taks:api`` would otherwise look like a success; lifting one needs no warning."""
    invoke("pause", "taks:api")
    paused = messages.seen[2]
    invoke("resume", "taks:api")

    assert paused == ("warning", "controller.scope_unknown", {"scope": "taks:api"})
    assert messages.ids.count("controller.scope_unknown") == 1
    assert [what[1] for what in connector.done if what[0] == "publish"] == ["cascade/constraints/taks/api"] * 2


@pytest.mark.parametrize("where", ["connect", "publish", "disconnect"])
@pytest.mark.parametrize("arguments", [["pause"], ["resume"], ["set-limit", "--scope", "global", "--rate", "5/s"]])
def test_what_fails_is_said_and_returned(messages, monkeypatch, where, arguments):
    """One error message, no success, a non-zero exit code, and the connector is disconnected in any case."""
    connector = ConnectorThatNotes(**{where: OSError("no route")})
    monkeypatch.setattr(controller, "MqttConnector", connector)
    result = invoke(*arguments)

    assert result.exit_code == 1
    assert [entry for entry in messages.seen if entry[0] == "error"] == [
        ("error", "controller.error", {"error": "no route"})
    ]
    assert not any("success" in msg_id for msg_id in messages.ids)
    assert connector.done[-1] == "disconnect"
    assert connector.done.count("disconnect") == 1


def test_an_error_without_a_text_is_named(messages, monkeypatch):
    """An empty line would say nothing."""
    monkeypatch.setattr(controller, "MqttConnector", ConnectorThatNotes(connect=TimeoutError()))
    invoke("pause")

    assert messages.seen[-1] == ("error", "controller.error", {"error": "TimeoutError"})


def test_the_second_of_two_limits_may_fail(messages, monkeypatch):
    """Then there is no success, although the first was published."""

    class Failing(ConnectorThatNotes):
        async def publish(self, topic, payload, qos=0, retain=False):
            await super().publish(topic, payload, qos, retain)
            if payload["type"] == "rate_limit":
                raise OSError("gone")

    connector = Failing()
    monkeypatch.setattr(controller, "MqttConnector", connector)
    result = invoke("set-limit", "--scope", "global", "--rate", "5/s", "--concurrency", "5")

    assert result.exit_code == 1
    assert messages.ids[-1] == "controller.error"
    assert connector.done[-1] == "disconnect"


def test_what_is_not_confirmed_is_a_failure(messages, monkeypatch):
    """A connector that sends in the background is asked whether everything has left before there is a success."""

    class InBackground(ConnectorThatNotes):
        async def flush(self, patience):
            self._do("flush")

    connector = InBackground(flush=ConnectionError("1 message not taken"))
    monkeypatch.setattr(controller, "MqttConnector", connector)
    result = invoke("pause")

    assert result.exit_code == 1
    assert messages.seen[-1] == ("error", "controller.error", {"error": "1 message not taken"})
    assert connector.done[-2:] == ["flush", "disconnect"]


def test_an_interrupt_disconnects_too(messages, monkeypatch):
    """Ctrl-C while connecting ends with 130 and leaves nothing open."""
    connector = ConnectorThatNotes(connect=KeyboardInterrupt())
    monkeypatch.setattr(controller, "MqttConnector", connector)
    result = invoke("pause")

    assert result.exit_code == 130
    assert connector.done == ["connect", "disconnect"]


def test_a_missing_library_is_named_with_its_remedy(messages, monkeypatch):
    """The connector says what it needs when it is made; the command passes it on."""

    def missing(**given):
        raise ImportError("MqttConnector needs the 'aiomqtt' library: pip install 'cascade-hot[mqtt]'")

    monkeypatch.setattr(controller, "MqttConnector", missing)
    result = invoke("pause")

    assert result.exit_code == 1
    assert messages.ids == ["controller.error"]
    assert "cascade-hot[mqtt]" in messages.seen[0][2]["error"]


# -------------------------------------------------------------------------------------------------------- where it goes


def test_backends_have_their_connectors(monkeypatch):
    """mqtt and local; another is wrong usage."""
    monkeypatch.setattr(controller, "MqttConnector", lambda **given: ("mqtt", given))
    monkeypatch.setattr(controller, "LocalConnector", lambda **given: ("local", given))

    assert controller._get_connector("mqtt", "h", 1) == ("mqtt", {"hostname": "h", "port": 1})
    assert controller._get_connector("local", "h", 1) == ("local", {})
    with pytest.raises(UsageError, match="'x'"):
        controller._get_connector("x", "h", 1)


@pytest.mark.parametrize(
    "host", ["ann:s%3Acret@broker", "mqtt://ann:s%3Acret@broker", "mqtt://ann:s%3Acret@broker:77/"]
)
def test_credentials_reach_the_broker_only(messages, connector, host):
    """User and password of the host are handed to the connector and shown nowhere."""
    result = invoke("pause", "--host", host)
    port = 77 if "77" in host else 1883

    assert result.exit_code == 0
    assert connector.made_with == {"hostname": "broker", "port": port, "username": "ann", "password": "s:cret"}
    assert messages.seen[0] == (
        "info",
        "controller.connecting",
        {"backend": "mqtt", "hostname": "broker", "port": port},
    )
    assert "cret" not in repr(messages.seen) + result.output


@pytest.mark.parametrize(
    "host",
    [
        "ann:secret@",
        "ann:secret@host:port",
        "ann:secret@host:99999",
        "ann:secret@host/path",
        "ann:sec/ret@host",
        "ann:secret@[host",
        "ann:secret@ho st",
        "http://ann:secret@host",
        "ann:secret@ho\u2100st",
    ],
)
def test_a_host_that_cannot_be_read_is_not_repeated(messages, connector, host):
    """What is wrong with it may be in its password."""
    result = invoke("pause", "--host", host)

    assert result.exit_code == 2
    assert "secret" not in result.output
    assert "--host" in result.stderr or "--port" in result.stderr
    assert connector.done == []


# ---------------------------------------------------------------------------------------------------------- the process


def test_main_shows_messages_on_standard_error(connector, monkeypatch, capsys):
    """Words with a tick; standard output stays empty, and the bus is silent again."""
    monkeypatch.setattr("sys.argv", ["cs-controller", "pause"])
    with pytest.raises(SystemExit) as ended:
        controller.main()
    controller.bus.info("controller.connected")
    shown = capsys.readouterr()

    assert ended.value.code == 0
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "🔌 Connecting (mqtt, localhost:1883)",
        "✅ Connected",
        "📤 Pausing scope global (topic cascade/constraints/global)",
        "✅ Pause published",
    ]


def test_main_without_typer_says_how_to_get_it(monkeypatch, capsys):
    """One line, exit code 1; the callables work without."""
    monkeypatch.setattr(controller, "app", None)

    assert controller.main() == 1
    assert capsys.readouterr().err == "cs-controller: needs the 'typer' library: pip install 'cascade-hot[cli]'\n"


def test_a_reader_who_leaves_ends_the_command(connector, monkeypatch):
    """At once and without a traceback."""

    class Closed:
        encoding = "utf-8"

        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            """Nothing to do."""

    monkeypatch.setattr("sys.argv", ["cs-controller", "pause"])
    monkeypatch.setattr("sys.stderr", Closed())
    with pytest.raises(SystemExit) as ended:
        controller.main()

    assert ended.value.code == 1
    assert connector.done == []
