"""A reader of DOT texts as the package writes them: a check of the grammar that does not ask the writer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Picture", "read"]

Attributes = dict[str, str]

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(->)|([A-Za-z_][A-Za-z0-9_]*)|([{}\[\];,=]))', re.DOTALL)


@dataclass
class Picture:
    """Nodes and edges with their attributes; labels as graphviz would show them, lines separated."""

    settings: Attributes = field(default_factory=dict)
    nodes: dict[str, Attributes] = field(default_factory=dict)
    edges: list[tuple[str, str, Attributes]] = field(default_factory=list)

    def labels(self) -> list[str]:
        """Return the labels of the nodes in order."""
        return [attributes["label"] for attributes in self.nodes.values()]


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = list(self._split(text))
        self._at = 0

    @staticmethod
    def _split(text: str) -> list[str]:
        tokens: list[str] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"no DOT at {text[at : at + 40]!r}")
            tokens.append(found.group().strip())
            at = found.end()
        return tokens

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if not token or (expected and token not in expected):
            raise ValueError(f"{token!r} where {expected} was expected")
        self._at += 1
        return token

    def word(self) -> str:
        token = self.take()
        if token[0] == '"':
            return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], token[1:-1])
        if not token[0].isalnum():
            raise ValueError(f"{token!r} where an ID was expected")
        return token

    def attributes(self) -> Attributes:
        found: Attributes = {}
        self.take("[")
        while self.peek() != "]":
            name = self.word()
            self.take("=")
            if name in found:
                raise ValueError(f"{name} is given twice")
            found[name] = self.word()
            if self.peek() != "]":
                self.take(",")
        self.take("]")
        return found


def read(text: str) -> Picture:
    """Return what a text draws.

    Raises:
        ValueError: it is no DOT text, or an edge begins or ends nowhere.
    """
    reader, picture = _Reader(text), Picture()
    reader.take("digraph")
    reader.word()
    reader.take("{")
    while reader.peek() != "}":
        first = reader.word()
        if reader.peek() == "=":
            reader.take("=")
            picture.settings[first] = reader.word()
        elif reader.peek() == "->":
            reader.take("->")
            picture.edges.append((first, reader.word(), reader.attributes()))
        elif first == "node":
            reader.attributes()
        elif first in picture.nodes:
            raise ValueError(f"node {first} is drawn twice")
        else:
            picture.nodes[first] = reader.attributes()
        reader.take(";")
    reader.take("}")
    if reader.peek():
        raise ValueError(f"{reader.peek()!r} after the end")
    for source, target, _ in picture.edges:
        if not {source, target} <= picture.nodes.keys():
            raise ValueError(f"an edge from {source} to {target}, where no node is")
    return picture
