"""Messages on a terminal, with colours where it has some."""

from __future__ import annotations

from typing import Any

from cascade.cli._usage import CLI_REMEDY
from cascade.common.messaging.bus import MessageStore
from cascade.common.messaging.protocols import Renderer
from cascade.common.renderers import LOG_LEVELS, rank_of

try:
    import rich
    import rich.console
    import rich.errors
    import rich.markup
    import rich.text
except ImportError:  # said when a renderer is made
    rich = None  # type: ignore[assignment]

__all__ = ["LOG_LEVELS", "RichCliRenderer", "harmless"]

_RUN_HEADER = "observer.telemetry.run_header"
#: Styles by level, and by the last part of an id, which counts more.
_STYLES = {
    "error": "red",
    "warning": "yellow",
    "FAILED": "red",
    "COMPLETED": "green",
    "BLOCKED": "yellow",
    "SKIPPED": "dim",
}
#: Characters that move the cursor, ring, or turn the direction of writing, and what stands for them.
_UNSAFE = [*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {code: repr(chr(code))[1:-1] for code in _UNSAFE if chr(code) not in "\n\t"}


def harmless(text: str) -> str:
    """Return a text that comes from elsewhere with its control characters made visible."""
    return text.translate(_ESCAPES)


class RichCliRenderer(Renderer):
    """Shows every message of at least ``min_level`` on standard error: texts may have rich's markup, data have none.

    A message that begins the events of a run is a rule across the terminal.

    Raises:
        ImportError: rich is not installed.
    """

    def __init__(self, store: MessageStore, min_level: str = "INFO") -> None:
        if rich is None:
            raise ImportError(f"RichCliRenderer needs the 'rich' library: {CLI_REMEDY}")
        self._store = store
        self._min_rank = rank_of(min_level)
        self._console = rich.console.Console(stderr=True, highlight=False, emoji=False)

    def render(self, msg_id: str, level: str, **kwargs: Any) -> None:
        """Show the text of the message."""
        if rank_of(level) < self._min_rank:
            return
        shown = {name: _plain(value) for name, value in kwargs.items()}
        unknown = _plain(f"<{msg_id}>")  # ids may be made of what comes from elsewhere, too
        text = _marked_up(self._store.get(msg_id, unknown, **shown))
        if msg_id == _RUN_HEADER:
            self._console.rule(text)
        else:
            style = _STYLES.get(msg_id.rpartition(".")[2]) or _STYLES.get(level.lower())
            self._console.print(text, style=style, soft_wrap=True)


def _plain(value: Any) -> Any:
    """Return what the text shows of a value, without markup; numbers stay, as texts may format them."""
    if isinstance(value, (int, float)):
        return value
    return rich.markup.escape(harmless(str(value)) + " ")[:-1]  # a backslash at the very end would be doubled


def _marked_up(text: str) -> Any:
    try:
        return rich.text.Text.from_markup(text, emoji=False)
    except rich.errors.MarkupError:  # of a text that somebody has added: shown as it is
        return rich.text.Text(text)
