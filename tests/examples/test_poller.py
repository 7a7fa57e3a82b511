"""``examples/poller.py``, bounded, and stopped by Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cascade
from examples import poller
from examples.poller import command


def test_it_polls_as_often_as_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Eight answers take ten requests of a server that refuses each fourth; the news are noted, the journal closed."""
    code = command(["--polls", "8", "--rate", "1000/s"])
    lines = capsys.readouterr().out.splitlines()

    assert code == 0
    assert [line for line in lines if "->" in line] == [
        *("nothing -> version 0", "version 0 -> version 1"),
        *("version 1 -> version 2", "version 2 -> version 3"),
    ]
    assert lines.count("the server said 503; again in 0.02 s") == 2
    assert lines[-3:] == ["journal closed after 4 lines", "10 requests, 8 steps", "Last answer: version 3"]


def test_the_delay_before_an_attempt_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is down for a while is asked at ever longer intervals, and the poll survives."""
    told: list[str] = []

    async def answer(host: str, port: int) -> poller.Answer:
        return poller.Answer(503, "") if len(told) < 4 else poller.Answer(200, "up")

    monkeypatch.setattr(poller, "asked", answer)
    asyncio.run(poller.run(1, "1000/s", told.append))

    assert [line.partition("again in ")[2] for line in told[:4]] == ["0.02 s", "0.04 s", "0.08 s", "0.16 s"]
    assert "nothing -> up" in told


def test_a_server_that_stays_down_ends_the_poller() -> None:
    """After six attempts the error of the last one is raised, and the journal is closed all the same."""
    told: list[str] = []

    async def answer(host: str, port: int) -> poller.Answer:
        return poller.Answer(503, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poller, "asked", answer)
        with pytest.raises(poller.Unavailable, match="503"):
            asyncio.run(poller.run(None, "1000/s", told.append))

    assert "journal closed after 0 lines" in told


def test_the_rate_limit_holds() -> None:
    """At 50 a second the fifth poll cannot begin before 0.08 s are over."""
    told: list[str] = []

    async def timed() -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await poller.run(5, "50/s", told.append)
        return loop.time() - started

    assert asyncio.run(timed()) >= 0.079


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_interrupt_closes_the_journal(tmp_path: Path) -> None:
    """Ctrl-C ends the endless poller cleanly: teardowns, one line, exit code 130, nothing on stderr."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, poller.__file__, "--rate", "200/s"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "nothing -> version 0\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert err == ""
    assert out.splitlines()[-1] == "Stopped by Ctrl-C."
    assert "journal closed after" in out


def test_cascade_run_polls_a_server_of_its_own() -> None:
    """``cascade run`` finds what to run and the resources in the file, and takes the parameters."""
    command = [sys.executable, "-m", "cascade", "run", poller.__file__, "--param", "polls=4", "--param", "pause=0"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == [
        *("nothing -> version 0", "version 0 -> version 1", "journal closed after 2 lines", "version 1"),
    ]
