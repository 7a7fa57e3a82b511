"""Jinja2 templates and what they may not do."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

import cascade as cs
from tests.engines import make_engine, run

jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed: the extra is called template")
module = importlib.import_module("cascade.providers.template")


class Account:
    """Something with a secret that templates must not come by."""

    owner = "Ada"
    _password = "hunter2"


@pytest.mark.row("06-providers", "Built-in providers", "template")
def test_names_come_from_context_and_keywords() -> None:
    """Both are merged, and keywords beat the context; both may be lazy."""
    assert module.render_template.name == "template"
    assert run(cs.template("{{ a }}-{{ b }}", {"a": 1, "b": 2}, b=3)) == "1-3"
    assert run(cs.template("{{ a.b[0] }}", context=cs.dict(a={"b": ["deep"]}))) == "deep"
    assert run(cs.template("{% for n in ns %}{{ n }};{% endfor %}", ns=cs.wait.map(delay=[0, 0]))) == "None;None;"


def test_undefined_names_render_empty() -> None:
    """A name that nobody gave is no error."""
    assert run(cs.template("[{{ nobody }}]")) == "[]"


@pytest.mark.row("06-providers", "Built-in providers", "template")
@pytest.mark.parametrize(
    ("text", "error"), [("{% for %}", "TemplateSyntaxError"), ("{{ 1 | nothing }}", "TemplateAssertionError")]
)
def test_errors_are_those_of_jinja2(text: str, error: str) -> None:
    """A malformed template raises what jinja2 raises."""
    with pytest.raises(getattr(jinja2, error)):
        run(cs.template(text))


def test_undefined_is_an_error_where_it_is_used() -> None:
    """Attributes of what is undefined are the error that jinja2 makes of them."""
    with pytest.raises(jinja2.UndefinedError, match="nobody"):
        run(cs.template("{{ nobody.name }}"))


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ account._password }}",
        "{{ account.__init__.__globals__ }}",
        "{{ function.__globals__ }}",
        "{{ function.__code__ }}",
        "{{ '{0._password}'.format(account) }}",
        "{{ '{a.__class__}'.format_map({'a': account}) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__.__globals__ }}",
    ],
)
def test_templates_cannot_escape(text: str) -> None:
    """Whatever way leads out of the sandbox ends in an error, and the secret is in neither text nor event."""
    with pytest.raises(jinja2.TemplateError) as caught:
        run(cs.template(text, account=Account(), function=run))

    assert "unsafe" in str(caught.value) or isinstance(caught.value, jinja2.UndefinedError)
    assert "hunter2" not in str(caught.value)


def test_error_of_an_escape_says_what_was_tried() -> None:
    """The text names the attribute and the type of the value."""
    with pytest.raises(jinja2.sandbox.SecurityError, match=r"attribute '__class__' of a value of type 'str' is unsafe"):
        run(cs.template("{{ ''.__class__ }}"))


def test_public_attributes_are_there() -> None:
    """The sandbox keeps from templates only what is unsafe."""
    assert run(cs.template("{{ account.owner }} {{ 'x'.upper() }} {{ d._key }}", account=Account(), d={"_key": 1})) == (
        "Ada X 1"
    )


@pytest.mark.row("06-providers", "Built-in providers", "template")
def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jinja2, asking for the factory and calling the task both raise an ImportError with the remedy."""
    monkeypatch.setattr(module, "jinja2", None)
    for use in (module.TemplateProvider().create_factory, lambda: module.render_template.func("")):
        with pytest.raises(ImportError, match=r"'jinja2' library is required .*'cascade-hot\[template\]'"):
            use()


def test_templates_in_hot_loops_and_maps() -> None:
    """A loop whose argument is rendered runs hot; ``map`` renders each."""

    @cs.task
    def count(left: int, text: str) -> Any:
        return count(left - 1, cs.template("{{ text }}{{ left }}", text=text, left=left)) if left else text

    engine = make_engine()

    assert run(count(9, ""), engine) == "987654321"
    assert engine.stats.hot >= 7
    assert run(cs.template.map(template_string=["{{ n }}", "<{{ n }}>"], n=[1, 2])) == ["1", "<2>"]
