"""What a command says of arguments that make no sense, and of a library that it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import typer
except ImportError:
    typer = None  # type: ignore[assignment]

__all__ = ["CLI_REMEDY", "UsageError"]

#: How to have the libraries of ``cs-controller`` and ``cs-observer``.
CLI_REMEDY = "pip install 'cascade-hot[cli]'"

if TYPE_CHECKING or typer is None:

    class UsageError(Exception):
        """The arguments make no sense; the text says which one and what would do.

        It is the error that Typer turns into exit code 2, where there is Typer; ``cascade`` does so with argparse.
        """

else:
    UsageError = typer.BadParameter
