"""The workflow for chat completions, against an endpoint on loopback."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from tests.engines import make_engine, run, watch

pytest.importorskip("aiohttp", reason="needs aiohttp: pip install 'cascade-hot[http]'")
pytest.importorskip("jinja2", reason="needs Jinja2: pip install 'cascade-hot[template]'")

from aiohttp import web

from cascade.examples.patterns import llm_openai
from cascade.providers.http import HttpResponse
from tests.providers.loopback import serving

KEY = "sk-abcdef123456"
PARAMS = {"prompt_template": "Say {{ word }}.", "context": {"word": "hello"}, "model": "tiny"}


class Endpoint:
    """Answers chat completions, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: tuple[int, Any] = (200, {"choices": [{"message": {"role": "assistant", "content": "hello"}}]})

    async def v1(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path, request.headers["Authorization"], await request.json()))
        status, body = self.answer
        return web.json_response(body, status=status)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    endpoint = Endpoint()
    importlib.reload(llm_openai)  # other tests forget the parameters that were declared when it was imported
    with serving(v1=endpoint.v1) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1/")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield endpoint


def test_it_runs_as_a_subflow(endpoint: Endpoint) -> None:
    """The rendered prompt goes to the model with the key, and the text of the answer comes back."""
    lazy = cs.subflow(path=llm_openai.__file__, target="result", params=PARAMS)

    assert run(lazy) == "hello"
    message = {"role": "user", "content": "Say hello."}
    body = {"model": "tiny", "messages": [message]}
    assert endpoint.asked == [("POST", "/v1/chat/completions", f"Bearer {KEY}", body)]


def test_context_and_model_have_defaults(endpoint: Endpoint) -> None:
    """Only the template is needed."""
    assert run(llm_openai.result, params={"prompt_template": "Hi"}) == "hello"
    assert endpoint.asked[0][3] == {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


def test_the_request_is_retried_three_times_after_five_seconds() -> None:
    """The policy is on the request."""
    policy = llm_openai.api_response._retry_policy

    assert policy is not None
    assert (policy.max_attempts, policy.delay) == (3, 5)


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_status_of_400_or_more_is_an_error(endpoint: Endpoint, status: int) -> None:
    """The error has the server's words, but never the key, even where the server repeats it."""
    endpoint.answer = (status, {"error": {"message": f"no such thing, {KEY}"}})

    with pytest.raises(RuntimeError, match=rf"\({status}\).*no such thing, \*\*\*") as caught:
        run(llm_openai.result, params=PARAMS)

    assert KEY not in repr(caught.value)


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{"message": None}]}, []])
def test_an_answer_without_text(body: Any) -> None:
    """It is an error that says what is missing."""
    with pytest.raises(RuntimeError, match=r"choices\[0\].message.content"):
        run(llm_openai.parse_response(HttpResponse(200, {}, json.dumps(body).encode())))


def test_without_a_key_nothing_is_asked(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable."""
    monkeypatch.delenv("OPENAI_API_KEY")

    with pytest.raises(RuntimeError, match="OPENAI_API_KEY is not set"):
        run(llm_openai.result, params=PARAMS)
    assert endpoint.asked == []


def test_the_key_shows_nowhere(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events and logs have neither the key nor what the address may hold."""
    engine = make_engine()
    events = watch(engine)
    run(llm_openai.result, engine, params=PARAMS)
    cs.run(llm_openai.result, params=PARAMS, log_level="DEBUG")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:hunter2@host/v1")
    run(llm_openai._url(), engine)
    logged = capsys.readouterr()

    assert len(events) > 15
    for text in (*map(repr, events), logged.out, logged.err):
        assert [secret for secret in (KEY, "hunter2") if secret in text] == []
