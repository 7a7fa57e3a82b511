"""The constraint manager: replacement, removal, several constraints, expiry, wake-ups."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
from types import SimpleNamespace

import pytest

from cascade.runtime.constraints import ConstraintManager
from cascade.runtime.constraints.handlers import (
    ConcurrencyConstraintHandler,
    PauseConstraintHandler,
    RateLimitConstraintHandler,
)
from cascade.runtime.resource_manager import ResourceManager
from cascade.spec.constraint import GlobalConstraint


def node(name="t"):
    return SimpleNamespace(name=name)


def pause(scope="global", id="pause", **kwargs):
    return GlobalConstraint(id, scope, "pause", {}, **kwargs)


def concurrency(limit, scope="global", id="concurrency", **kwargs):
    return GlobalConstraint(id, scope, "concurrency", {"limit": limit}, **kwargs)


def rate(text, scope="global", id="rate", **params):
    return GlobalConstraint(id, scope, "rate_limit", {"rate": text, **params})


def make_manager():
    manager = ConstraintManager(ResourceManager())
    for handler in (PauseConstraintHandler(), ConcurrencyConstraintHandler(), RateLimitConstraintHandler()):
        manager.register_handler(handler)
    return manager


@pytest.fixture
def manager(clock):
    """A manager with the stock handlers under the virtual clock."""
    return make_manager()


class Handler:
    """A handler of type ``custom`` that notes what it is told and grants what it is told to."""

    def __init__(self, answer=True):
        self.told = []
        self.answer = answer

    def handles_type(self):
        return "custom"

    def on_constraint_add(self, constraint, manager):
        self.told.append(("add", constraint.id))

    def on_constraint_remove(self, constraint, manager):
        self.told.append(("remove", constraint.id))

    def check_permission(self, task, constraint, manager):
        self.told.append(("check", constraint.id))
        return self.answer

    def append_requirements(self, task, constraint, requirements, manager):
        requirements["custom"] = 1


def custom(scope="global", id="c", **kwargs):
    return GlobalConstraint(id, scope, "custom", {}, **kwargs)


# -- what is in force ---


@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "pause",
)
def test_a_pause_denies_its_scope_until_it_is_removed(manager):
    """Removal is by scope, of all types."""
    manager.update_constraint(pause("task:a"))
    manager.update_constraint(concurrency(1, "task:a"))
    assert not manager.check_permission(node("a"))
    assert manager.check_permission(node("b"))

    manager.remove_constraints_by_scope("task:a")
    assert manager.check_permission(node("a"))
    assert manager.get_extra_requirements(node("a")) == {}
    assert manager._constraints == {}


def test_the_last_write_wins_for_one_scope_and_type_and_for_one_id(manager):
    """A new constraint takes the place of its predecessor, whichever way they are related."""
    manager.update_constraint(rate("1/s", "task:a", id="1"))
    manager.update_constraint(pause("task:a", id="2"))
    manager.update_constraint(pause("task:a", id="3"))
    assert sorted(manager._constraints) == ["1", "3"]

    manager.update_constraint(pause("task:b", id="3"))
    assert manager._constraints["3"].scope == "task:b"
    assert manager.check_permission(node("a"))
    assert not manager.check_permission(node("b"))

    manager.update_constraint(concurrency(1, "task:a", id="4"))
    manager.update_constraint(concurrency(1, "task:b", id="4"))
    assert list(manager.resource_manager._capacity) == ["constraint:concurrency:task:b"]


@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "concurrency",
)
def test_concurrency_becomes_a_resource_of_its_scope(manager):
    """Each matching node needs one of a resource that has the limit as capacity; the default limit is 1."""
    name = "constraint:concurrency:task:a*"
    manager.update_constraint(concurrency(3, "task:a*"))

    assert manager.resource_manager._capacity == {name: 3.0}
    assert manager.get_extra_requirements(node("ab")) == {name: 1}
    assert manager.get_extra_requirements(node("b")) == {}
    assert manager.check_permission(node("ab"))

    manager.update_constraint(GlobalConstraint("x", "task:a*", "concurrency", {}))
    assert manager.resource_manager._capacity == {name: 1.0}
    manager.remove_constraints_by_scope("task:a*")
    assert manager.resource_manager._capacity == {}


def test_replacing_a_limit_never_lifts_it_in_between(manager, clock):
    """Nobody slips through while one limit takes another's place; lifting it lets everybody go."""

    async def main():
        resources = manager.resource_manager
        manager.update_constraint(concurrency(1))
        need = manager.get_extra_requirements(node())
        await resources.acquire(need)
        waiters = [asyncio.ensure_future(resources.acquire(need)) for _ in range(3)]
        await asyncio.sleep(0)
        manager.update_constraint(concurrency(2, id="other"))
        await asyncio.sleep(0.01)
        assert [waiter.done() for waiter in waiters] == [True, False, False]
        manager.remove_constraints_by_scope("global")
        await asyncio.wait_for(asyncio.gather(*waiters), 1)

    clock.run(main())


def test_a_limit_of_zero_admits_nothing_but_lets_the_admitted_finish(manager, clock):
    """An operator's zero pauses; it is not an error of the workflow."""

    async def main():
        resources = manager.resource_manager
        manager.update_constraint(concurrency(1))
        need = manager.get_extra_requirements(node())
        await resources.acquire(need)
        waiter = asyncio.ensure_future(resources.acquire(need))
        await asyncio.sleep(0)
        manager.update_constraint(concurrency(0))
        assert not manager.check_permission(node())
        await resources.release(need)
        await asyncio.wait_for(waiter, 1)

    clock.run(main())


def test_a_malformed_constraint_changes_nothing(manager):
    """The error reaches the caller, and the old limit stays in force."""
    manager.update_constraint(concurrency(2))
    epoch = manager.epoch
    with pytest.raises(ValueError, match="limit of concurrency constraint 'new'"):
        manager.update_constraint(concurrency("many", id="new"))
    with pytest.raises(ValueError, match="limit of concurrency constraint"):
        manager.update_constraint(concurrency("many", "task:elsewhere"))
    with pytest.raises((TypeError, ValueError)):
        manager.update_constraint(pause(expires_at="tomorrow"))

    assert list(manager._constraints) == ["concurrency"]
    assert manager.resource_manager._capacity == {"constraint:concurrency:global": 2.0}
    assert manager.epoch == epoch


@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "other",
)
def test_unknown_types_are_ignored_until_a_handler_comes(manager):
    """A constraint of a type nobody handles has no effect; a handler registered later takes it up."""
    manager.update_constraint(custom())
    assert manager.check_permission(node())
    assert not manager.concerns("t")

    handler = Handler(answer=False)
    manager.register_handler(handler)
    assert not manager.check_permission(node())
    assert handler.told == [("add", "c"), ("check", "c")]


def test_a_custom_handler_is_told_everything_in_order(manager):
    """Removal of the old comes before arrival of the new, and nodes outside the scope are not asked about."""
    handler = Handler()
    manager.register_handler(handler)
    manager.update_constraint(custom("task:a", id="1"))
    manager.update_constraint(custom("task:a", id="2"))
    manager.check_permission(node("b"))
    manager.check_permission(node("a"))
    manager.remove_constraints_by_scope("task:a")

    assert handler.told == [("add", "1"), ("remove", "1"), ("add", "2"), ("check", "2"), ("remove", "2")]


def test_extra_requirements_of_all_constraints_are_collected(manager):
    """A node holds what every matching constraint wants."""
    manager.register_handler(Handler())
    for constraint in (concurrency(1, id="1"), concurrency(2, "task:t", id="2"), custom()):
        manager.update_constraint(constraint)

    assert manager.get_extra_requirements(node()) == {
        "constraint:concurrency:global": 1,
        "constraint:concurrency:task:t": 1,
        "custom": 1,
    }


# -- several constraints ---


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_a_denied_node_uses_up_no_tokens_of_other_buckets(manager, clock, order):
    """Whatever the order of the constraints, only an admission costs tokens."""
    constraints = [
        rate("1/h", "global", id="g", capacity=2),
        rate("1/h", "task:a", id="a", capacity=1),
        pause("task:p"),
    ]
    for index in order:
        manager.update_constraint(constraints[index])

    async def main():
        assert manager.check_permission(node("a"))  # takes one of each bucket
        for _ in range(10):
            assert not manager.check_permission(node("a"))
            assert not manager.check_permission(node("p"))
        assert manager.check_permission(node("b"))  # the second global token is still there
        assert not manager.check_permission(node("b"))

    clock.run(main())


def test_a_custom_handler_that_denies_returns_the_tokens(manager, clock):
    """The rule holds for types that the engine does not know."""
    handler = Handler(answer=False)
    manager.update_constraint(rate("1/h", capacity=1))
    manager.register_handler(handler)
    manager.update_constraint(custom())

    async def main():
        assert not manager.check_permission(node())
        handler.answer = True
        assert manager.check_permission(node())

    clock.run(main())


@pytest.mark.row(
    "04-resources-and-constraints",
    "Global constraints: GlobalConstraint(id, scope, type, params, expires_at=None)",
    "rate_limit",
)
def test_two_at_once_then_one_per_fifth_of_a_second(manager, clock):
    """A rate of 5/s with capacity 2 admits in that rhythm, through wake-ups that the limiter asks for."""

    async def main():
        woken = asyncio.Event()
        manager.set_wakeup_callback(woken.set)
        manager.update_constraint(rate("5/s", capacity=2))
        start, moments = clock.now, []
        for _ in range(4):
            while not manager.check_permission(node()):
                woken.clear()
                await woken.wait()
            moments.append(clock.now - start)
        assert moments == [0.0, 0.0, pytest.approx(0.2, abs=0.002), pytest.approx(0.4, abs=0.003)]

    clock.run(main())


def test_a_rate_of_zero_waits_for_a_change_only(manager, clock):
    """No wake-up is scheduled for tokens that never come."""

    async def main():
        woken = []
        manager.update_constraint(rate("0/s"))
        manager.set_wakeup_callback(lambda: woken.append(clock.now))
        assert not manager.check_permission(node())
        await asyncio.sleep(10_000)
        assert woken == []
        manager.update_constraint(rate("1/s"))
        assert len(woken) == 1

    clock.run(main())


def test_sending_a_rate_again_does_not_refill_its_bucket(manager, clock):
    """The bucket belongs to the scope, not to the message."""

    async def main():
        manager.update_constraint(rate("1/h", capacity=1))
        assert manager.check_permission(node())
        manager.update_constraint(rate("1/h", id="again", capacity=1))
        assert not manager.check_permission(node())

    clock.run(main())


# -- expiry ---


def effects(manager, name="t"):
    """Whether anything of the constraints can be noticed."""
    return (
        not manager.check_permission(node(name))
        or bool(manager.get_extra_requirements(node(name)))
        or manager.concerns(name)
    )


def expiring(kind, moment):
    return {
        "pause": pause(expires_at=moment),
        "concurrency": concurrency(1, expires_at=moment),
        "rate_limit": GlobalConstraint("r", "global", "rate_limit", {"rate": "0/s"}, moment),
        "custom": custom(expires_at=moment),
    }[kind]


@pytest.mark.parametrize("kind", ["pause", "concurrency", "rate_limit", "custom"])
def test_an_expired_constraint_has_no_effect_whatever_its_type(manager, clock, kind):
    """From its moment on a constraint is gone, though nothing was blocked and no loop is running."""
    manager.register_handler(Handler())
    manager.update_constraint(expiring(kind, clock.now + 10))
    assert effects(manager)

    epoch = manager.epoch
    clock.now += 10
    assert not effects(manager)
    assert manager._constraints == {}
    assert manager.resource_manager._capacity == {}
    assert manager.epoch > epoch


@pytest.mark.parametrize("kind", ["pause", "concurrency", "rate_limit", "custom"])
def test_a_constraint_that_arrives_expired_never_has_any_effect(manager, clock, kind):
    """Its handler does not even hear of it, but it still replaces what it came to replace."""
    handler = Handler()
    manager.register_handler(handler)
    manager.update_constraint(expiring(kind, clock.now))
    assert not effects(manager)
    assert handler.told == []

    manager.update_constraint(expiring(kind, None))
    assert effects(manager)
    manager.update_constraint(expiring(kind, clock.now - 1))
    assert not effects(manager)
    assert manager.resource_manager._capacity == {}


def test_cleanup_lifts_expired_constraints_only(manager, clock):
    """The others stay."""
    manager.update_constraint(pause("task:a", id="1", expires_at=clock.now + 1))
    manager.update_constraint(pause("task:b", id="2", expires_at=clock.now + 2))
    clock.now += 1
    manager.cleanup_expired_constraints()

    assert list(manager._constraints) == ["2"]


def test_a_blocked_run_resumes_shortly_after_expiry(manager, clock):
    """The wake-up comes by itself, also when the constraint was set before any loop was running."""
    manager.update_constraint(pause(expires_at=clock.now + 0.25))
    start = clock.now

    async def main():
        woken = asyncio.Event()
        manager.set_wakeup_callback(woken.set)
        while not manager.check_permission(node()):
            woken.clear()
            await asyncio.wait_for(woken.wait(), 100)
        assert 0.25 <= clock.now - start <= 0.26

    clock.run(main())


def test_who_waits_for_an_expired_limit_goes_on(manager, clock):
    """A node that was admitted and waits for the limit's resource is freed by the expiry itself."""
    manager.update_constraint(concurrency(1, expires_at=clock.now + 5))
    start = clock.now

    async def main():
        need = manager.get_extra_requirements(node())
        await manager.resource_manager.acquire(need)
        await asyncio.wait_for(manager.resource_manager.acquire(need), 100)
        assert 5.0 <= clock.now - start <= 5.01

    clock.run(main())


def test_expiry_is_noticed_in_a_second_event_loop(manager, clock):
    """A timer that died with the first loop is set again in the second."""
    manager.update_constraint(pause(expires_at=clock.now + 5))

    async def main(patience):
        woken = asyncio.Event()
        manager.set_wakeup_callback(woken.set)
        while not manager.check_permission(node()):
            woken.clear()
            await asyncio.wait_for(woken.wait(), patience)

    with pytest.raises(TimeoutError):
        clock.run(main(1))
    clock.run(main(100))

    assert manager._constraints == {}


def test_expiry_survives_a_wall_clock_that_goes_slower(manager, clock, monkeypatch):
    """If the moment has not come when the timer rings, the timer is set again."""
    offset = 0.0
    monkeypatch.setattr(
        "cascade.runtime.constraints.manager.time", SimpleNamespace(time=lambda: clock.now + offset), raising=True
    )
    manager.update_constraint(concurrency(1, expires_at=clock.now + 1))
    start = clock.now

    async def main():
        nonlocal offset
        need = manager.get_extra_requirements(node())
        await manager.resource_manager.acquire(need)
        offset = -2.0
        await asyncio.wait_for(manager.resource_manager.acquire(need), 100)
        assert 3.0 <= clock.now - start <= 3.01

    clock.run(main())


# -- wake-ups and the epoch ---


def test_every_change_moves_the_epoch_and_wakes(manager, clock):
    """Update, removal and expiry; what changes nothing does neither."""
    epochs, woken = [manager.epoch], []
    manager.set_wakeup_callback(lambda: woken.append(manager.epoch))
    for change in (
        lambda: manager.update_constraint(pause()),
        lambda: manager.update_constraint(pause()),
        lambda: manager.remove_constraints_by_scope("global"),
        lambda: manager.update_constraint(pause(expires_at=clock.now + 1)),
    ):
        change()
        epochs.append(manager.epoch)
    clock.now += 1
    manager.cleanup_expired_constraints()
    epochs.append(manager.epoch)

    assert epochs == sorted(set(epochs))
    assert woken == epochs[1:]
    manager.cleanup_expired_constraints()
    manager.remove_constraints_by_scope("task:nobody")
    assert manager.epoch == epochs[-1]
    assert woken == epochs[1:]


def test_a_requested_wakeup_comes_after_its_delay(manager, clock):
    """Later requests are not lost to earlier ones, and a thousand requests for one moment ring once."""

    async def main():
        start, moments = clock.now, []
        manager.set_wakeup_callback(lambda: moments.append(round(clock.now - start, 2)))
        for _ in range(1000):
            manager.request_wakeup(0.5)
            manager.request_wakeup(0.1)
        manager.request_wakeup(math.inf)
        await asyncio.sleep(1)
        assert moments == [0.1, 0.5]

    clock.run(main())


def test_wakeups_may_be_requested_without_a_loop_or_a_callback(manager):
    """Nobody to wake is no error."""
    manager.request_wakeup(0.0)
    manager.update_constraint(pause())
    manager.set_wakeup_callback(None)
    manager.remove_constraints_by_scope("global")


def test_another_thread_may_request_a_wakeup():
    """The callback runs on the loop that waits."""
    manager = make_manager()
    manager.update_constraint(pause())

    async def main():
        woken = asyncio.Event()
        loop_thread = threading.get_ident()
        threads = []

        def callback():
            threads.append(threading.get_ident())
            woken.set()

        assert not manager.check_permission(node())
        manager.set_wakeup_callback(callback)
        await asyncio.to_thread(manager.request_wakeup, 0.0)
        await asyncio.wait_for(woken.wait(), 5)
        assert threads == [loop_thread]

    asyncio.run(main())


def test_a_ttl_that_another_thread_sets_frees_a_waiter_on_this_loop():
    """The thread that sets a limit has no loop, the one that waits is told nothing, and still goes on in time."""
    manager = make_manager()
    manager.update_constraint(concurrency(1))

    async def main():
        need = manager.get_extra_requirements(node())
        await manager.resource_manager.acquire(need)
        waiter = asyncio.ensure_future(manager.resource_manager.acquire(need))
        await asyncio.sleep(0)
        await asyncio.to_thread(manager.update_constraint, concurrency(1, expires_at=time.time() + 0.05))
        await asyncio.wait_for(waiter, 5)

    asyncio.run(main())


def test_closed_loops_are_forgotten(manager, clock):
    """A manager that serves many event loops one after another keeps the last one at most."""
    manager.update_constraint(pause())

    async def ask():
        manager.check_permission(node())

    for _ in range(10):
        clock.run(ask())
    gc.collect()

    assert len(manager._alarm._moments) == 1


def test_concerns_tells_whether_a_constraint_could_apply(manager):
    """False only where no constraint in force can have an effect on a node of that name."""
    handler = Handler()
    manager.register_handler(handler)
    assert not manager.concerns("t")

    for constraint in (pause("task:a"), concurrency(5, "task:b"), rate("5/s", "task:c"), custom("task:d*")):
        manager.update_constraint(constraint)
    manager.update_constraint(custom("project:x", id="x"))
    assert [name for name in ("a", "b", "c", "dd", "e", "x") if manager.concerns(name)] == ["a", "b", "c", "dd"]
    assert ("check", "c") not in handler.told

    manager.update_constraint(custom("global", id="all"))
    assert manager.concerns("e")
