"""A chat completion of OpenAI, or of a server that speaks its protocol, as a workflow for ``cascade.subflow``.

    from cascade.examples.patterns import llm_openai

    cs.subflow(
        path=llm_openai.__file__,
        target="result",
        params={"prompt_template": "Say {{ word }}.", "context": {"word": "hello"}, "model": "gpt-4o-mini"},
    )

The prompt is ``prompt_template``, rendered with ``context``. The key is read from the environment variable
``OPENAI_API_KEY``, the address from ``OPENAI_BASE_URL`` (``https://api.openai.com/v1`` by default). A request without
an answer is sent again, three times at most, after five seconds; an answer of status 400 or more is a ``RuntimeError``.
Neither key nor address are shown in events, logs or errors.
"""

from __future__ import annotations

import os
from typing import Any

import cascade as cs
from cascade.common.redaction import Secret, redact
from cascade.context import get_current_context
from cascade.internal.inputs import ENVIRONMENT
from cascade.providers.http import HttpResponse
from cascade.spec.input import EnvSpec

__all__ = [
    "api_key",
    "api_response",
    "context",
    "final_prompt",
    "model",
    "parse_response",
    "parsed_text",
    "prompt_template",
    "result",
]

_KEY = "OPENAI_API_KEY"
_BASE_URL = "OPENAI_BASE_URL"
_DEFAULT_URL = "https://api.openai.com/v1"


@cs.task(name="openai_api_key")
def _read_key(environment: Any = cs.inject(ENVIRONMENT)) -> Secret:
    """Read the key as ``cs.Env`` would, whose value events show."""
    key = environment.get(_KEY)
    if not key:
        raise RuntimeError(f"The environment variable {_KEY} is not set: it holds the key for the OpenAI API")
    return Secret(key)


@cs.task(name="openai_headers")
def _headers(key: str) -> dict[str, str]:
    return {"Authorization": Secret(f"Bearer {key}")}


@cs.task(name="openai_url")
def _url(environment: Any = cs.inject(ENVIRONMENT)) -> Secret:
    base: str = environment.get(_BASE_URL) or _DEFAULT_URL
    return Secret(f"{base.rstrip('/')}/chat/completions")


@cs.task
def parse_response(response: HttpResponse) -> str:
    """Return the text of the first choice.

    Raises:
        RuntimeError: the server reports an error, or its answer holds no text.
    """
    if response.status >= 400:
        words = response.body.decode(errors="replace")[:500].strip()
        raise RuntimeError(f"OpenAI API error ({response.status}): {redact(words, [os.environ.get(_KEY, '')])}")
    try:
        return str(response.json()["choices"][0]["message"]["content"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RuntimeError(f"OpenAI API answer without choices[0].message.content: {type(error).__name__}") from None


get_current_context().register(EnvSpec(_KEY, None, "Key for the OpenAI API"))
get_current_context().register(EnvSpec(_BASE_URL, _DEFAULT_URL, "Where the API is"))

prompt_template = cs.Param("prompt_template", description="Jinja2 template of the prompt")
context = cs.Param("context", default={}, description="Values for the template")
model = cs.Param("model", default="gpt-4o-mini", description="Name of the model")
api_key = _read_key()

final_prompt = cs.template(prompt_template, context=context)

api_response = cs.http.post(
    url=_url(),
    headers=_headers(api_key),
    json={"model": model, "messages": [{"role": "user", "content": final_prompt}]},
).with_retry(max_attempts=3, delay=5)

parsed_text = parse_response(api_response)
result = parsed_text
