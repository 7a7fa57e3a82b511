"""Capacity: waiting, fairness, cancellation, changes of capacity, several event loops."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

from cascade.runtime.resource_manager import ResourceManager


async def turns(count=5):
    """Give every ready task a few turns."""
    for _ in range(count):
        await asyncio.sleep(0)


def waiting(manager, requirements, log=None, name=None):
    """Start a task that acquires and notes when it has."""

    async def acquire():
        await manager.acquire(requirements)
        if log is not None:
            log.append(name)

    return asyncio.ensure_future(acquire())


def is_clean(manager):
    """Whether nothing is held, waited for or claimed."""
    return not (manager._waiters or manager._claims.totals or manager._unlimited_usage or any(manager._usage.values()))


def test_amounts_are_taken_together_and_given_back():
    """Either all of a request is taken or nothing."""

    async def main():
        manager = ResourceManager({"cpu": 4, "gpu": 1})
        await manager.acquire({"cpu": 3, "gpu": 1})
        assert manager.can_acquire({"cpu": 1})
        assert not manager.can_acquire({"cpu": 1, "gpu": 1})
        assert manager._usage == {"cpu": 3.0, "gpu": 1.0}
        await manager.release({"cpu": 3, "gpu": 1})
        assert is_clean(manager)

    asyncio.run(main())


def test_a_waiter_goes_on_when_there_is_room():
    """The only slot passes from one holder to the next."""

    async def main():
        manager = ResourceManager({"slot": 1})
        await manager.acquire({"slot": 1})
        waiter = waiting(manager, {"slot": 1})
        await turns()
        assert not waiter.done()
        await manager.release({"slot": 1})
        await waiter
        assert not manager.can_acquire({"slot": 1})

    asyncio.run(main())


def test_names_without_capacity_are_unlimited_and_not_counted():
    """Nobody waits for what nobody limits."""

    async def main():
        manager = ResourceManager({"cpu": 1})
        await manager.acquire({"other": 1e9})
        assert manager.can_acquire({"other": 1e9})
        assert manager._usage == {"cpu": 0.0}
        await manager.release({"other": 1e9})
        assert is_clean(manager)

    asyncio.run(main())


def test_a_request_beyond_the_capacity_is_refused_at_once():
    """An impossible request is an error, not a wait for ever, even when others wait."""

    async def main():
        manager = ResourceManager({"gpu": 2})
        await manager.acquire({"gpu": 2})
        waiter = waiting(manager, {"gpu": 1})
        await turns()
        assert not manager.can_acquire({"gpu": 3})
        with pytest.raises(ValueError, match=r"'gpu'.*exceeds total system capacity"):
            await asyncio.wait_for(manager.acquire({"gpu": 3}), 1)
        waiter.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("amount", ["many", None, object(), -1, float("nan")])
def test_amounts_must_be_numbers(amount):
    """The error names the resource and shows the amount."""
    manager = ResourceManager()

    with pytest.raises((TypeError, ValueError), match="'gpu'"):
        asyncio.run(manager.acquire({"gpu": amount}))
    with pytest.raises((TypeError, ValueError), match="'gpu'"):
        ResourceManager({"gpu": amount})


def test_amounts_may_be_anything_that_converts():
    """Numbers as text are numbers."""

    async def main():
        manager = ResourceManager({"gpu": "2"})
        await manager.acquire({"gpu": "1.5"})
        assert manager._usage == {"gpu": 1.5}

    asyncio.run(main())


def test_releasing_never_goes_below_zero():
    """A release too many does not make capacity out of nothing."""

    async def main():
        manager = ResourceManager({"gpu": 1})
        await manager.release({"gpu": 5})
        await manager.acquire({"gpu": 1})
        assert not manager.can_acquire({"gpu": 1})

    asyncio.run(main())


def test_fractions_do_not_drift():
    """After many roundings all of a resource can be had again."""

    async def main():
        manager = ResourceManager({"cpu": 0.3})
        for _ in range(1000):
            for _ in range(3):
                await asyncio.wait_for(manager.acquire({"cpu": 0.1}), 1)
            for _ in range(3):
                await manager.release({"cpu": 0.1})
        await asyncio.wait_for(manager.acquire({"cpu": 0.3}), 1)

    asyncio.run(main())


def test_equal_requests_are_admitted_in_order_of_arrival():
    """First come, first served."""

    async def main():
        manager, log = ResourceManager({"slot": 1}), []
        await manager.acquire({"slot": 1})
        waiters = [waiting(manager, {"slot": 1}, log, i) for i in range(5)]
        await turns()
        for _ in waiters:
            await manager.release({"slot": 1})
            await turns()
        assert log == [0, 1, 2, 3, 4]

    asyncio.run(main())


def test_a_large_request_is_not_starved_by_small_ones():
    """Small requests that arrive later wait behind a large one, though they would fit."""

    async def main():
        manager, log = ResourceManager({"cpu": 4}), []
        for _ in range(4):
            await manager.acquire({"cpu": 1})
        large = waiting(manager, {"cpu": 4}, log, "large")
        await turns()
        small = [waiting(manager, {"cpu": 1}, log, "small") for _ in range(3)]
        await turns()
        await manager.release({"cpu": 1})
        await turns()
        assert log == []
        assert not manager.can_acquire({"cpu": 1})
        for _ in range(3):
            await manager.release({"cpu": 1})
        await turns()
        assert log == ["large"]
        await manager.release({"cpu": 4})
        await asyncio.gather(large, *small)
        assert log == ["large", "small", "small", "small"]

    asyncio.run(main())


def test_requests_that_do_not_compete_pass_each_other():
    """Waiting for one resource holds up nobody who wants another, nor who fits beside the one that waits."""

    async def main():
        manager = ResourceManager({"gpu": 1, "cpu": 8})
        await manager.acquire({"gpu": 1})
        waiter = waiting(manager, {"gpu": 1, "cpu": 6})
        await turns()
        await asyncio.wait_for(manager.acquire({"cpu": 2}), 1)
        assert not manager.can_acquire({"cpu": 1})  # the other six are kept for the waiter
        await manager.release({"gpu": 1})
        await waiter

    asyncio.run(main())


def test_a_waiter_behind_is_admitted_past_one_that_does_not_compete():
    """A release looks beyond the first waiter."""

    async def main():
        manager, log = ResourceManager({"gpu": 1, "cpu": 1}), []
        await manager.acquire({"gpu": 1, "cpu": 1})
        first = waiting(manager, {"gpu": 1}, log, "gpu")
        second = waiting(manager, {"cpu": 1}, log, "cpu")
        await turns()
        await manager.release({"cpu": 1})
        await turns()
        assert log == ["cpu"]
        await manager.release({"gpu": 1})
        await asyncio.gather(first, second)

    asyncio.run(main())


def test_a_release_does_not_give_away_what_an_earlier_waiter_will_need():
    """A later request that fits beside what is in use, but not beside the earlier request, goes on waiting."""

    async def main():
        manager, log = ResourceManager({"gpu": 1, "cpu": 8}), []
        await manager.acquire({"gpu": 1, "cpu": 8})
        first = waiting(manager, {"gpu": 1, "cpu": 2}, log, "first")
        later = waiting(manager, {"cpu": 3}, log, "later")
        small = waiting(manager, {"cpu": 1}, log, "small")
        await turns()
        await manager.release({"cpu": 4})
        await turns()
        assert log == []  # "small" fits beside both, but "later" was first
        await manager.release({"cpu": 1})
        await turns()
        assert log == ["later"]
        await manager.release({"gpu": 1})
        await turns()
        assert log == ["later", "first"]
        await manager.release({"cpu": 1})
        await asyncio.gather(first, later, small)

    asyncio.run(main())


def test_a_cancelled_waiter_leaves_no_trace_and_frees_those_behind():
    """What a cancelled request claimed goes to the next in line at once."""

    async def main():
        manager = ResourceManager({"cpu": 2})
        await manager.acquire({"cpu": 1})
        large = waiting(manager, {"cpu": 2})
        await turns()
        small = waiting(manager, {"cpu": 1})
        await turns()
        assert not small.done()
        large.cancel()
        await asyncio.wait_for(small, 1)
        await manager.release({"cpu": 2})
        assert is_clean(manager)

    asyncio.run(main())


def test_a_waiter_cancelled_after_it_was_granted_gives_back():
    """A grant that arrives together with a cancellation is not lost."""

    async def main():
        manager = ResourceManager({"slot": 1})
        await manager.acquire({"slot": 1})
        waiter = waiting(manager, {"slot": 1})
        await turns()
        await manager.release({"slot": 1})  # granted, but the waiter has not run yet
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert is_clean(manager)
        assert manager.can_acquire({"slot": 1})

    asyncio.run(main())


def test_a_raised_capacity_admits_and_a_lowered_one_only_blocks_new_requests():
    """Who runs goes on; the others see the new capacity."""

    async def main():
        manager = ResourceManager({"cpu": 2})
        await manager.acquire({"cpu": 2})
        waiter = waiting(manager, {"cpu": 1})
        await turns()
        manager.update_resource("cpu", 3)
        await asyncio.wait_for(waiter, 1)
        manager.set_capacity({"cpu": 1})
        assert not manager.can_acquire({"cpu": 1})
        await manager.release({"cpu": 2})
        assert not manager.can_acquire({"cpu": 1})
        await manager.release({"cpu": 1})
        assert manager.can_acquire({"cpu": 1})

    asyncio.run(main())


def test_a_waiter_that_became_impossible_is_refused():
    """A request that can never be granted again neither waits for ever nor holds up others."""

    async def main():
        manager = ResourceManager({"cpu": 4})
        await manager.acquire({"cpu": 2})
        large = waiting(manager, {"cpu": 4})
        await turns()
        small = waiting(manager, {"cpu": 1})
        await turns()
        manager.update_resource("cpu", 3)
        with pytest.raises(ValueError, match="exceeds total system capacity"):
            await asyncio.wait_for(large, 1)
        await asyncio.wait_for(small, 1)

    asyncio.run(main())


def test_a_removed_limit_frees_its_waiters():
    """A name without capacity is unlimited again, for those who wait as well."""

    async def main():
        manager = ResourceManager({"x": 1})
        await manager.acquire({"x": 1})
        waiters = [waiting(manager, {"x": 1}) for _ in range(3)]
        await turns()
        manager.remove_resource("x")
        await asyncio.wait_for(asyncio.gather(*waiters), 1)
        await manager.release({"x": 4})
        assert is_clean(manager)

    asyncio.run(main())


def test_a_limit_set_later_knows_what_already_runs():
    """Releases of amounts taken while there was no limit never free what others hold."""

    async def main():
        manager = ResourceManager()
        await manager.acquire({"x": 1})
        manager.update_resource("x", 2)
        await manager.acquire({"x": 1})
        assert not manager.can_acquire({"x": 1})
        await manager.release({"x": 1})
        await manager.acquire({"x": 1})
        assert not manager.can_acquire({"x": 1})

    asyncio.run(main())


def test_set_capacity_replaces_everything_but_the_limits_of_constraints():
    """An operator's limit does not vanish because the machine's capacity changes."""
    manager = ResourceManager({"cpu": 1})
    manager.update_resource("constraint:concurrency:global", 1)
    manager.set_capacity({"gpu": 1})

    assert manager._capacity == {"gpu": 1.0, "constraint:concurrency:global": 1.0}


def test_a_manager_serves_successive_event_loops():
    """Made outside a loop, used in two, the second undisturbed by a waiter that died with the first."""
    manager = ResourceManager({"slot": 1})

    async def abandon():
        await manager.acquire({"slot": 1})
        waiting(manager, {"slot": 1})
        await turns()

    async def use():
        assert not manager._waiters
        await manager.release({"slot": 1})
        await asyncio.wait_for(manager.acquire({"slot": 1}), 1)
        waiter = waiting(manager, {"slot": 1})
        await turns()
        await manager.release({"slot": 1})
        await asyncio.wait_for(waiter, 1)
        await manager.release({"slot": 1})

    asyncio.run(abandon())
    asyncio.run(use())

    assert is_clean(manager)


def test_a_waiter_whose_loop_was_closed_is_passed_over():
    """Nobody is left in the queue who can never go on."""
    manager = ResourceManager({"slot": 1})
    loop = asyncio.new_event_loop()
    loop.run_until_complete(manager.acquire({"slot": 1}))
    forgotten = manager.acquire({"slot": 1})

    async def begin():
        task = asyncio.ensure_future(forgotten)
        await turns()
        return task

    task = loop.run_until_complete(begin())
    loop.close()

    async def use():
        waiter = waiting(manager, {"slot": 1})
        await turns()
        await manager.release({"slot": 1})
        await asyncio.wait_for(waiter, 1)

    asyncio.run(use())
    task._log_destroy_pending = False  # it is destroyed on purpose


def test_a_release_in_one_thread_admits_a_waiter_in_another():
    """The wake-up reaches the loop of the waiter, which may be asleep."""
    manager = ResourceManager({"slot": 1})
    asyncio.run(manager.acquire({"slot": 1}))
    waits = threading.Event()

    async def wait():
        asyncio.get_running_loop().call_soon(waits.set)
        await asyncio.wait_for(manager.acquire({"slot": 1}), 10)

    thread = threading.Thread(target=asyncio.run, args=(wait(),))
    thread.start()
    waits.wait(10)
    started = time.monotonic()
    asyncio.run(manager.release({"slot": 1}))
    thread.join()

    assert time.monotonic() - started < 5
    assert not manager.can_acquire({"slot": 1})


def test_a_capacity_raised_by_another_thread_admits():
    """Threads without an event loop may change the capacity."""

    async def main():
        manager = ResourceManager({"slot": 0})
        manager.update_resource("slot", 1)
        await manager.acquire({"slot": 1})
        waiter = waiting(manager, {"slot": 1})
        await turns()
        await asyncio.to_thread(manager.update_resource, "slot", 2)
        await asyncio.wait_for(waiter, 5)

    asyncio.run(main())


def test_random_traffic_never_exceeds_the_capacity_and_always_ends():
    """Whatever mixture of sizes and cancellations, limits hold, everybody is served and nothing remains."""

    async def main(seed):
        rng = random.Random(seed)
        capacity = {"a": 3, "b": 2}
        manager = ResourceManager(capacity)
        held = {"a": 0, "b": 0}

        async def work(request):
            await manager.acquire(request)
            try:
                for name, amount in request.items():
                    held[name] += amount
                    assert held[name] <= capacity[name]
                await turns(rng.randrange(4))
            finally:
                for name, amount in request.items():
                    held[name] -= amount
                await manager.release(request)

        tasks = []
        for _ in range(60):
            request = {name: rng.randint(1, limit) for name, limit in capacity.items() if rng.random() < 0.7}
            tasks.append(asyncio.ensure_future(work(request)))
            await turns(rng.randrange(3))
            if rng.random() < 0.2:
                rng.choice(tasks).cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert is_clean(manager)

    for seed in range(20):
        asyncio.run(main(seed))


def test_ten_thousand_waiters_for_one_slot_are_served_quickly():
    """A release does not look at everybody who waits."""

    async def main():
        manager = ResourceManager({"slot": 1, "other": 5})

        async def work():
            await manager.acquire({"slot": 1})
            await manager.release({"slot": 1})

        await manager.acquire({"slot": 1})
        tasks = [asyncio.ensure_future(work()) for _ in range(10_000)]
        await turns()
        looked_at = 0
        fits = manager._fits

        def counting(amounts, claimed):
            nonlocal looked_at
            looked_at += 1
            return fits(amounts, claimed)

        manager._fits = counting
        await manager.release({"slot": 1})
        await asyncio.gather(*tasks)
        assert looked_at < 50_000

    asyncio.run(main())


@pytest.mark.parametrize("capacity", [3, "cpu", ["cpu"]])
def test_capacity_without_names_is_refused(capacity):
    """Capacities have names."""
    with pytest.raises(TypeError, match=r"system resources are capacities by name, \{'cpu': 4\}, not"):
        ResourceManager(capacity)
