"""``cs.run``, ``cs.arun`` and ``cs.run_outcome``: the package's own engine, put together for the caller."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.common.messaging.bus import bus


@cs.task
def add(a: int, b: int) -> int:
    return a + b


@cs.task
def countdown(n: int) -> str:
    return countdown(n - 1) if n else "done"


@cs.task
def fail(error: Exception) -> None:
    raise error


@pytest.fixture(autouse=True)
def renderer() -> Any:
    """Leaves the message bus of the process without a renderer."""
    yield
    bus.set_renderer(None)


class Connector:
    """Keeps a diary; the network is slow."""

    def __init__(self) -> None:
        self.diary: list[str] = []

    async def connect(self) -> None:
        self.diary.append("connect")

    async def disconnect(self) -> None:
        self.diary.append("disconnect")

    async def publish(self, topic: str, payload: dict[str, Any], qos: int = 0, retain: bool = False) -> None:
        await asyncio.sleep(0)
        body = payload["body"]
        self.diary.append(body.get("event") or body["state"])

    async def subscribe(self, topic: str, callback: Any) -> None:
        self.diary.append(f"subscribe {topic}")


# ----------------------------------------------------------------------------------------------------------------- run


def test_run_returns_the_value() -> None:
    """A lazy result, a list and a tuple of lazy results, and nothing at all can be run."""
    assert cs.run(add(1, add(2, 3))) == 6
    assert cs.run([add(1, 2), 7]) == [3, 7]
    assert cs.run((add(1, 2), add(3, 4))) == [3, 7]
    assert cs.run([]) == []


def test_run_raises_what_the_task_raised() -> None:
    """The exception object itself arrives."""
    error = LookupError("gone")

    with pytest.raises(LookupError) as caught:
        cs.run(fail(error))

    assert caught.value is error


def test_run_passes_params_on() -> None:
    """Params reach the tasks that read them; unknown ones are ignored."""
    assert cs.run(add(cs.Param("face_x"), 1), params={"face_x": 4, "other": 0}) == 5


def test_system_resources_are_the_capacity() -> None:
    """A call that needs more than there is fails at once, one that fits runs."""
    fitting: Any = add(1, 2)
    greedy: Any = add(1, 2)

    assert cs.run(fitting.with_constraints(gpu=1), system_resources={"gpu": 1}) == 3
    with pytest.raises(ValueError, match="exceeds total system capacity"):
        cs.run(greedy.with_constraints(gpu=2), system_resources={"gpu": 1})


@pytest.mark.parametrize("target", [3, None, "text", add], ids=["int", "None", "text", "uncalled task"])
def test_what_is_no_lazy_result_is_refused(target: Any) -> None:
    """The error says what can be run."""
    with pytest.raises(TypeError, match="Cannot build graph from type"):
        cs.run(target)


@pytest.mark.parametrize("function", [cs.run, cs.run_outcome])
def test_run_inside_a_running_loop_is_refused(function: Any) -> None:
    """The error names the way that works there, and leaves nothing behind that was never awaited."""

    async def inside() -> None:
        function(add(1, 2))

    with pytest.raises(RuntimeError, match="cannot be called from a running event loop; await "):
        asyncio.run(inside())


def test_arun_runs_inside_a_running_loop() -> None:
    """``arun`` takes what ``run`` takes and does the same, several at a time too."""

    async def inside() -> list[Any]:
        one = cs.arun(add(cs.Param("face_y"), 1), {"face_y": 1}, log_level="ERROR")
        return await asyncio.gather(one, cs.arun(countdown(50)))

    assert asyncio.run(inside()) == [2, "done"]


def test_the_executor_is_closed_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run leaves no thread or process of its executor behind, whether it succeeds or fails."""
    open_ones: list[object] = []

    class Executor(cs.LocalExecutor):
        def __init__(self) -> None:
            super().__init__()
            open_ones.append(self)

        def close(self) -> None:
            super().close()
            open_ones.remove(self)

    monkeypatch.setattr("cascade.app.LocalExecutor", Executor)

    assert cs.run(add(1, 2)) == 3
    assert cs.run_outcome(fail(LookupError("gone"))).status == "Failed"
    assert open_ones == []


# ------------------------------------------------------------------------------------------------------------- outcome


def test_outcome_of_a_success_has_value_and_stats() -> None:
    """Status, value, run id and counters of exactly this run."""
    outcome = cs.run_outcome(countdown(10))

    assert (outcome.status, outcome.value, outcome.reason) == ("Succeeded", "done", None)
    assert outcome.stats.steps == 11
    assert len(outcome.run_id) == 36


def test_outcome_of_a_failure_has_the_error() -> None:
    """What ``run`` would raise is the reason, also when the target cannot run at all."""
    error = LookupError("gone")
    outcome = cs.run_outcome(fail(error))

    assert (outcome.status, outcome.value) == ("Failed", None)
    assert outcome.reason is error
    assert isinstance(cs.run_outcome(3).reason, TypeError)


def test_outcome_of_a_cancellation_says_so() -> None:
    """A task that raises CancelledError ends the run as cancelled."""

    @cs.task
    async def give_up() -> None:
        raise asyncio.CancelledError

    assert cs.run_outcome(give_up()).status == "Cancelled"


# ------------------------------------------------------------------------------------------------------------- logging


def test_people_are_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Start, params, tasks and end of the run, and nothing on standard output."""
    cs.run(add(1, 2), params={"colour": "red"})
    shown = capsys.readouterr()

    assert shown.out == ""
    assert "▶️" in shown.err
    assert "add" in shown.err
    assert "red" in shown.err
    assert "✅" in shown.err


def test_log_level_error_shows_failures_only(capsys: pytest.CaptureFixture[str]) -> None:
    """A success says nothing, a failure its error."""
    cs.run(add(1, 2), log_level="ERROR")
    silence = capsys.readouterr().err
    cs.run_outcome(fail(LookupError("gone")), log_level="error")
    lines = capsys.readouterr().err.splitlines()

    assert silence == ""
    assert lines
    assert all("❌" in line and "LookupError: gone" in line for line in lines)


def test_log_format_json_writes_objects(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is a JSON object with the id of the message."""
    cs.run(add(1, 2), log_format="json")
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert [record["event_id"] for record in records] == [
        *("run.started", "task.started", "task.finished_success", "run.finished_success")
    ]


def test_a_loop_does_not_print_a_line_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Hot steps are not told one by one."""
    cs.run(countdown(5_000))

    assert len(capsys.readouterr().err.splitlines()) < 20


# ------------------------------------------------------------------------------------------ connector and state backend


def test_telemetry_is_delivered_before_the_connector_goes() -> None:
    """All messages, that of the end too, are handed over between connect and disconnect."""
    connector = Connector()
    cs.run(add(1, 2), connector=connector)

    assert connector.diary == [
        *("connect", "subscribe cascade/constraints/#"),
        *("ENGINE_STARTED", "RUNNING", "COMPLETED", "ENGINE_STOPPED", "disconnect"),
    ]


@pytest.mark.row("02-execution", "cascade.run(...)", "callable")
def test_state_backend_may_be_a_function() -> None:
    """It is called with the id of the run, and its backend gets the result."""
    made: dict[str, InMemoryStateBackend] = {}

    def factory(run_id: str) -> InMemoryStateBackend:
        made[run_id] = InMemoryStateBackend(run_id)
        return made[run_id]

    outcome = cs.run_outcome(add(1, 2), state_backend=factory)

    assert list(made) == [outcome.run_id]
    assert list(made[outcome.run_id]._results.values()) == [3]


@pytest.mark.row("02-execution", "cascade.run(...)", "\"redis://…\"")
def test_state_backend_in_redis_needs_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the error names the library, before anything runs."""
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ImportError, match=r"The 'redis' library is required.*pip install 'cascade-hot\[redis\]'"):
        cs.run(add(1, 2), state_backend="redis://localhost")


@pytest.mark.row("02-execution", "cascade.run(...)", "other text")
@pytest.mark.row("02-execution", "cascade.run(...)", "anything else")
@pytest.mark.parametrize(
    "backend, error, text",
    [
        ("file:///tmp", ValueError, "Unsupported state backend URI scheme: 'file'"),
        ("", ValueError, "Unsupported state backend URI scheme"),
        (3, TypeError, "Invalid state_backend type: int"),
    ],
)
def test_other_state_backends_are_refused(backend: Any, error: type[Exception], text: str) -> None:
    """The error says what can be given."""
    with pytest.raises(error, match=text):
        cs.run(add(1, 2), state_backend=backend)


def test_a_password_in_a_url_is_not_shown() -> None:
    """Not in the error about a scheme that is not supported."""
    with pytest.raises(ValueError, match="Unsupported state backend URI scheme: 'rediss'") as caught:
        cs.run(add(1, 2), state_backend="rediss://user:secret@host")

    assert "secret" not in str(caught.value)


@pytest.mark.row("02-execution", "cascade.run(...)", "None")
def test_no_state_backend_is_the_engines_own() -> None:
    """None asks for none, and a function is passed through."""
    assert cs._create_state_backend_factory(None) is None
    assert cs._create_state_backend_factory(InMemoryStateBackend) is InMemoryStateBackend
