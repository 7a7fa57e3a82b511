"""A module with a bit of everything, what a surface would hold of it, and faults to plant in it."""

from __future__ import annotations

from typing import Any

__all__ = ["FAULTS", "PLANTED", "WANTED", "param"]

PLANTED = """
import dataclasses
import enum
import cascade as cs

__all__ = ["walk", "fetch"]
LIMIT = 3
bus = cs.MessageBus()

def walk(path, depth=2, *, quiet=False):
    ...

again = walk

async def fetch(url, *args, **kwargs):
    ...

@cs.task(name="tick")
def _tick(n: int):
    ...

class Kind(enum.Enum):
    ONE = 1
    TWO = 2

@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 0
    tags: list = dataclasses.field(default_factory=list)
    seen: bool = dataclasses.field(default=False, init=False)

class Base:
    ...

class Worker(Base):
    name = "worker"

    def __init__(self, hostname):
        self.hostname = hostname
        self.jobs = {}

    def work(self, job, times=1):
        ...

    async def rest(self):
        ...

    @classmethod
    def make(cls, hostname):
        ...

    @staticmethod
    def plain(x):
        ...

    @property
    def state(self):
        ...

class Failure(Exception):
    ...
"""

ORDERED, NAMED = "POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"


def param(name: str, kind: str = ORDERED, **default: str) -> dict[str, str]:
    return {"name": name, "kind": kind, **default}


HOSTNAME, JOB = [param("hostname")], [param("job"), param("times", default="1")]
WALK = [param("path"), param("depth", default="2"), param("quiet", NAMED, default="False")]
FETCH = [param("url"), param("args", "VAR_POSITIONAL"), param("kwargs", "VAR_KEYWORD")]
POINT = [param("x"), param("y", default="0"), param("tags", default="<factory>")]

#: What the surface would hold of the module above.
WANTED: dict[str, Any] = {
    "all": ["walk"],
    "all_added_by_head": ["fetch"],
    "submodule_attributes": ["cs"],
    "names": {
        "LIMIT": {"kind": "constant", "value": "3"},
        "bus": {"kind": "object", "type": "MessageBus", "patch_point": True},
        "cs": {"kind": "any", "patch_point": True},
        "walk": {"kind": "function", "params": WALK[:2], "head": {"params_added": WALK[2:]}},
        "again": {"kind": "function", "alias_of": "planted:walk", "params": WALK},
        "fetch": {"kind": "function", "params": FETCH, "async": True},
        "_tick": {"kind": "task", "task_name": "tick", "params": [param("n")]},
        "Kind": {"kind": "enum", "members": {"ONE": 1}, "head": {"members_added": {"TWO": 2}}},
        "Point": {
            "kind": "class",
            "bases": [],
            "members": {},
            "dataclass": {"frozen": True, "eq": True},
            "defines_hash": True,
            "init": {"params": POINT},
            "fields": [
                {"name": "x"},
                {"name": "y", "default": "0"},
                {"name": "tags", "default_factory": "list"},
                {"name": "seen", "default": "False", "init": False},
            ],
        },
        "Worker": {
            "kind": "class",
            "bases": ["Base", "Generic"],
            "init": {"params": HOSTNAME},
            "members": {
                "name": {"kind": "attribute", "value": "'worker'"},
                "work": {"kind": "method", "params": JOB},
                "make": {"kind": "classmethod", "params": HOSTNAME},
                "plain": {"kind": "staticmethod", "params": [param("x")]},
                "state": {"kind": "property"},
            },
            "head": {"members_added": {"rest": {"kind": "method", "params": [], "async": True}}},
            "instance_attributes": {"hostname": {"initial": "ctor arg"}, "jobs": {"initial": "empty dict"}},
        },
        "Failure": {"kind": "exception", "bases": ["Exception"], "members": {}},
    },
}

#: What is changed in the module, which item notices, and what it says.
FAULTS = [
    ("async def fetch", "del walk\n\nasync def fetch", "planted:walk", "missing", "has no walk"),
    ("def walk(path, depth=2, *, quiet=False):", "def walk():", "planted:walk", "incompatible", "no parameter 'path'"),
    ("depth=2", "depth=3", "planted:walk", "incompatible", "'depth' is 3 by default, want 2"),
    ("depth=2", "depth", "planted:walk", "incompatible", "'depth' has no default"),
    ("path, depth=2", "deep, path, depth=2", "planted:walk", "incompatible", "another parameter, 'deep'"),
    ("path, depth=2", "depth=2, path=None", "planted:walk", "incompatible", "depth, path in this order"),
    ("path, depth=2, *", "path, *, depth=2", "planted:walk", "incompatible", "'depth' is taken by keyword only"),
    ("path, depth=2", "path, /, depth=2", "planted:walk", "incompatible", "'path' is not taken by keyword"),
    ("*, quiet=False", "*, quiet=True", "planted:walk", "incompatible", "'quiet' is True by default"),
    (", *, quiet=False", "", "planted:walk", "incompatible", "no parameter 'quiet'"),
    ("async def fetch", "def fetch", "planted:fetch", "incompatible", "is not to be awaited"),
    ("def walk", "async def walk", "planted:walk", "incompatible", "is to be awaited"),
    ("url, *args, ", "url, ", "planted:fetch", "incompatible", "takes no *args"),
    (", **kwargs", "", "planted:fetch", "incompatible", "takes no **kwargs"),
    ('__all__ = ["walk", "fetch"]', '__all__ = ["fetch"]', "planted:__all__", "incompatible", "does not list walk"),
    ('__all__ = ["walk", "fetch"]', '__all__ = ["walk"]', "planted:__all__", "incompatible", "does not list fetch"),
    ("again = walk", "def again(*args): ...", "planted:again", "incompatible", "another object than planted:walk"),
    ("LIMIT = 3", "LIMIT = 4", "planted:LIMIT", "incompatible", "is 4, want 3"),
    ("bus = cs.MessageBus()", "bus = object()", "planted:bus", "incompatible", "is of type object"),
    ("bus = cs.MessageBus()", "bus = None", "planted:bus", "missing", "is None"),
    ("class Failure", "del cs\n\nclass Failure", "planted:cs", "missing", "no attribute of the module"),
    ("class Failure", "del cs\n\nclass Failure", "planted:cs (module)", "incompatible", "no attribute of its package"),
    ('name="tick"', 'name="tock"', "planted:_tick", "incompatible", "is called 'tock'"),
    ("(n: int)", "(m: int)", "planted:_tick", "incompatible", "no parameter 'n'"),
    ('@cs.task(name="tick")', "", "planted:_tick", "incompatible", "is no Task"),
    ("ONE = 1", "ONE = 5", "planted:Kind", "incompatible", "ONE is 5, want 1"),
    ("TWO = 2", "...", "planted:Kind", "incompatible", "has no member TWO"),
    ("(enum.Enum)", "", "planted:Kind", "incompatible", "is no Enum"),
    ("frozen=True", "frozen=False", "planted:Point", "incompatible", "can be changed"),
    ("frozen=True", "", "planted:Point", "incompatible", "cannot be hashed"),
    ("@dataclasses.dataclass(frozen=True)", "", "planted:Point", "incompatible", "is no dataclass"),
    ("x: int", "z: int", "planted:Point.x", "missing", "no such field"),
    ("y: int = 0", "y: int = 1", "planted:Point.y", "incompatible", "is 1 by default, want 0"),
    ("default_factory=list", "default_factory=tuple", "planted:Point.tags", "incompatible", "want an empty list"),
    ("default=False, init=False", "default=False", "planted:Point.seen", "incompatible", "is given to the constructor"),
    ("Worker(Base)", "Worker", "planted:Worker", "incompatible", "is no subclass of Base"),
    ("def __init__(self, hostname)", "def __init__(self, hostname, x)", "planted:Worker", "incompatible", "another"),
    ('name = "worker"', "", "planted:Worker.name", "missing", "no such member"),
    ('name = "worker"', 'name = "idler"', "planted:Worker.name", "incompatible", "is 'idler', want 'worker'"),
    ("def work(", "def toil(", "planted:Worker.work", "missing", "no such member"),
    ("times=1", "times=2", "planted:Worker.work", "incompatible", "'times' is 2 by default"),
    ("async def rest", "def rest", "planted:Worker.rest", "incompatible", "is not to be awaited"),
    ("    @classmethod\n", "", "planted:Worker.make", "incompatible", "is no classmethod"),
    ("    @staticmethod\n", "", "planted:Worker.plain", "incompatible", "is no staticmethod"),
    ("    @property\n    def state(self)", "    def other(self)", "planted:Worker.state", "missing", "no such member"),
    ("self.jobs = {}", "...", "planted:Worker.jobs (of objects)", "missing", "no such attribute"),
    ("self.jobs = {}", "self.jobs = {1: 2}", "planted:Worker.jobs (of objects)", "incompatible", "want empty dict"),
    ("= hostname", "= None", "planted:Worker.hostname (of objects)", "incompatible", "want ctor arg"),
    ("Failure(Exception)", "Failure", "planted:Failure", "incompatible", "is no exception"),
    ("class Worker(Base)", "Worker = 1\nclass Other(Base)", "planted:Worker", "incompatible", "is no class"),
]
