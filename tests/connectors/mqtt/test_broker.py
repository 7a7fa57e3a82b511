"""The MQTT connector and a real Mosquitto."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from cascade.connectors.mqtt import MqttConnector
from cascade.connectors.mqtt import connector as module
from tests.connectors.inbox import Inbox, constraint, open_files, other_tasks, until

aiomqtt = pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'cascade-hot[mqtt]'")

ALL = "cascade/constraints/#"
GLOBAL = "cascade/constraints/global"
PAUSE = constraint("global", "pause")
LIMIT = constraint("global", "concurrency", limit=2)
RATE = constraint("global", "rate_limit", rate="5/s")


@asynccontextmanager
async def connectors(broker, number=1, **options):
    """Connected connectors (one alone as such), disconnected at the end."""
    async with AsyncExitStack() as stack:
        made = [MqttConnector(broker.host, broker.port, **options) for _ in range(number)]
        for one in made:
            await one.connect()
            stack.push_async_callback(one.disconnect)
        yield made[0] if number == 1 else made


async def retained(broker, filter_=ALL):
    """What a late subscriber gets."""
    inbox = Inbox()
    async with connectors(broker) as late:
        await late.subscribe(filter_, inbox)
    return inbox.seen


async def raw_retained(broker):
    """What the broker holds, as another client sees it."""
    found = {}
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe("#")
        try:
            async with asyncio.timeout(0.2):
                async for message in client.messages:
                    found[message.topic.value] = json.loads(message.payload)
        except TimeoutError:
            return found


class Line:
    """A way to the broker that can be cut and mended: a connection that breaks, while the broker lives on."""

    host = "127.0.0.1"

    def __init__(self, broker):
        self.broker = broker
        self.port = 0
        #: Whether what a client sends is lost.
        self.is_deaf = False
        self._server = None
        self._writers = set()

    async def __aenter__(self):
        await self.mend()
        return self

    async def __aexit__(self, *exc_info):
        await self.cut()

    async def mend(self):
        self.is_deaf = False
        self._server = await asyncio.start_server(self._carry, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await until(lambda: not self._writers)

    async def _carry(self, reader, writer):
        try:
            to_broker = await asyncio.open_connection(self.broker.host, self.broker.port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, to_broker[1]}
        self._writers |= ends
        try:
            await asyncio.gather(self._copy(reader, to_broker[1]), self._copy(to_broker[0], writer))
        finally:
            for end in ends:
                end.close()
            self._writers -= ends

    async def _copy(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if not self.is_deaf:
                    writer.write(data)
        writer.transport.abort()


async def restart(broker):
    """Kills the broker and starts it again."""
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)


# ------------------------------------------------------------------------------------------------------------- basics


def test_messages_go_from_one_connector_to_another(broker):
    """In order, by exact topic and by wildcard, to each callback; to nobody who has unsubscribed."""

    async def main():
        async with connectors(broker, 2) as (sender, receiver):
            inboxes = [Inbox() for _ in range(3)]
            for filter_, inbox in zip(("a/b", "a/#", "a/b"), inboxes, strict=True):
                handle = await receiver.subscribe(filter_, inbox)
            await handle.unsubscribe()
            for n in range(100):
                await sender.publish("a/b", {"n": n}, qos=n % 3)
            await sender.publish("other", {})
            await inboxes[1].wait_for(100)
            return [inbox.seen for inbox in inboxes]

    exact, wild, none = asyncio.run(main())
    expected = [("a/b", {"n": n}) for n in range(100)]

    assert sorted(exact, key=lambda one: one[1]["n"]) == sorted(wild, key=lambda one: one[1]["n"]) == expected
    assert [one for one in exact if one[1]["n"] % 3 == 1] == expected[1::3]
    assert none == []


def test_all_that_was_handed_over_is_sent_before_disconnect_completes(broker):
    """A thousand messages at once, then the end."""

    async def main():
        async with connectors(broker) as receiver:
            inbox = Inbox()
            await receiver.subscribe("t", inbox)
            async with connectors(broker) as sender:
                for n in range(1000):
                    await sender.publish("t", {"n": n}, qos=1)
            await inbox.wait_for(1000)
            return [payload["n"] for _, payload in inbox.seen]

    assert asyncio.run(main()) == list(range(1000))


def test_the_last_will_tells_of_an_engine_that_died(broker):
    """Whoever watches ``cascade/status`` learns that it is offline; an orderly end says nothing."""

    async def main():
        async with connectors(broker, 2) as (watcher, dying):
            inbox = Inbox()
            await watcher.subscribe("cascade/status/#", inbox)
            async with connectors(broker):
                pass
            dying._client._client.socket().shutdown(socket.SHUT_RDWR)
            await inbox.wait_for(1)
            return inbox.seen

    assert asyncio.run(main()) == [(f"cascade/status/{socket.gethostname()}-{os.getpid()}", {"status": "offline"})]


def test_a_broker_that_is_not_there_is_an_error_that_names_it(broker):
    """At once, and nothing stays behind."""
    broker.kill()

    async def main():
        connector = MqttConnector(broker.host, broker.port)
        with pytest.raises(aiomqtt.MqttError, match="refused") as caught:
            await connector.connect()
        await connector.disconnect()
        await until(lambda: not other_tasks())
        return caught.value.__notes__

    assert asyncio.run(main()) == [f"while connecting to the MQTT broker at {broker.host}:{broker.port}"]


def test_connecting_and_disconnecting_leaves_nothing_behind(broker):
    """Again and again, in one loop after the other: no task, no socket, no subscription."""
    connector = MqttConnector(broker.host, broker.port)

    async def main():
        await connector.connect()
        await connector.subscribe("t", Inbox())
        await connector.publish("t", {})
        await connector.disconnect()
        return other_tasks(), connector._subscriptions, connector._client

    before = open_files()
    for _ in range(3):
        assert asyncio.run(main()) == (set(), {}, None)

    assert open_files() == before


# ----------------------------------------------------------------------------------------------------------- retained


def test_retained_messages_reach_later_subscribers(broker):
    """The last of each topic; an empty one deletes it, and reaches those who are there as ``{}``."""

    async def main():
        async with connectors(broker, 2) as (sender, there):
            inbox = Inbox()
            await there.subscribe("s/#", inbox)
            await sender.publish("s/1", {"n": 1}, retain=True)
            await sender.publish("s/1", {"n": 2}, retain=True)
            await sender.publish("s/2", {"n": 3}, retain=True)
            await inbox.wait_for(3)
            first = await retained(broker, "s/#")
            await sender.publish("s/1", {}, retain=True)
            await inbox.wait_for(4)
            return sorted(first), inbox.seen[3], await retained(broker, "s/#"), await raw_retained(broker)

    first, deletion, later, raw = asyncio.run(main())

    assert first == [("s/1", {"n": 2}), ("s/2", {"n": 3})]
    assert deletion == ("s/1", {})
    assert later == [("s/2", {"n": 3})]
    assert raw == {"s/2": {"n": 3}}


def test_several_types_of_one_scope_are_retained(broker):
    """A rate limit does not hide a concurrency limit; an older reader understands the newest; ``{}`` lifts all."""

    async def main():
        async with connectors(broker, 2) as (controller, there):
            inbox = Inbox()
            await there.subscribe(ALL, inbox)
            results = []
            for payload in (LIMIT, RATE, {**LIMIT, "params": {"limit": 9}}):
                await controller.publish(GLOBAL, payload, retain=True)
                await inbox.wait_for(len(results) + 1)
                results.append(await retained(broker))
            raw = await raw_retained(broker)
            await controller.publish(GLOBAL, {}, retain=True)
            await inbox.wait_for(4)
            return results, raw, inbox.seen, await retained(broker)

    results, raw, seen, at_last = asyncio.run(main())
    other = {**LIMIT, "params": {"limit": 9}}

    assert results == [[(GLOBAL, LIMIT)], [(GLOBAL, LIMIT), (GLOBAL, RATE)], [(GLOBAL, RATE), (GLOBAL, other)]]
    assert raw == {GLOBAL: {**other, "others": [RATE]}}
    assert seen == [(GLOBAL, LIMIT), (GLOBAL, RATE), (GLOBAL, other), (GLOBAL, {})]
    assert at_last == []


def test_controllers_that_publish_at_the_same_time_do_not_hide_each_other_s_constraints(broker):
    """Each reads the same state; who covers something up notices, and publishes again with both."""
    payloads = [constraint("global", f"type{n}") for n in range(5)]

    async def main():
        async with connectors(broker, 5) as controllers:
            for controller, payload in zip(controllers, payloads, strict=True):
                await controller.publish(GLOBAL, payload, retain=True)
        return await retained(broker)

    assert sorted(payload["type"] for _, payload in asyncio.run(main())) == [f"type{n}" for n in range(5)]


def test_a_connector_that_has_subscribed_publishes_beside_what_it_was_told(broker):
    """It need not ask the broker again."""

    async def main():
        async with connectors(broker) as controller:
            await controller.publish(GLOBAL, PAUSE, retain=True)
        async with connectors(broker) as both:
            inbox = Inbox()
            await both.subscribe(ALL, inbox)
            await both.publish(GLOBAL, RATE, retain=True)
            await inbox.wait_for(2)
        return inbox.seen, await retained(broker)

    seen, late = asyncio.run(main())

    assert seen == late == [(GLOBAL, PAUSE), (GLOBAL, RATE)]


# ---------------------------------------------------------------------------------------------------------- restarts


def test_a_lost_connection_is_reported_and_established_again(broker, caplog):
    """With its subscriptions; what was handed over meanwhile is sent, in order, and nothing of it is lost."""

    async def main():
        async with Line(broker) as line, connectors(broker) as receiver, connectors(line) as sender:
            inbox = Inbox()
            await receiver.subscribe("t", inbox)
            with caplog.at_level(logging.INFO):
                await line.cut()
                await asyncio.to_thread(broker.kill)
                await until(lambda: not sender._is_up and not receiver._is_up)
                for n in range(50):
                    await sender.publish("t", {"n": n}, qos=1)
                await asyncio.to_thread(broker.start)
                await until(lambda: receiver._is_up and not receiver._link_tasks)  # it has subscribed again
                await line.mend()
                await inbox.wait_for(50)
            return [payload["n"] for _, payload in inbox.seen]

    assert asyncio.run(main()) == list(range(50))
    ours = sorted(record.levelname for record in caplog.records if record.name.startswith("cascade"))
    assert ours == ["INFO", "INFO", "WARNING", "WARNING"]
    assert f"lost the connection to the MQTT broker at {broker.host}:{broker.port} (" in caplog.text


def test_disconnect_waits_for_a_broker_that_is_away(broker):
    """What was handed over while it was gone is sent once it is back."""

    async def main():
        async with connectors(broker) as sender:
            await asyncio.to_thread(broker.kill)
            await until(lambda: not sender._is_up)
            await sender.publish("t", {"n": 1}, qos=1, retain=True)
            leaving = asyncio.create_task(sender.disconnect())
            await asyncio.sleep(0.05)
            assert not leaving.done()
            await asyncio.to_thread(broker.start)
            await leaving
        return await retained(broker, "t"), other_tasks()

    assert asyncio.run(main()) == ([("t", {"n": 1})], set())


@pytest.mark.parametrize("has_mail", [True, False])
def test_disconnect_does_not_wait_for_ever(broker, monkeypatch, caplog, has_mail):
    """A broker that does not come back costs what was handed over, and that is said; no task or socket stays."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    before = open_files()

    async def main():
        async with connectors(broker) as sender:
            await asyncio.to_thread(broker.kill)
            await until(lambda: not sender._is_up)
            if has_mail:
                await sender.publish("t", {"n": 1})
            caplog.clear()
        return other_tasks()

    assert asyncio.run(main()) == set()
    ours = [record for record in caplog.records if record.name.startswith("cascade")]  # the client may log a reset
    assert ["1 messages lost" in record.getMessage() for record in ours] == [True] * has_mail
    assert open_files() == before


def test_a_connector_that_was_away_learns_what_has_changed(broker):
    """A pause that ended meanwhile is lifted, a limit that came is told, what stays is not repeated."""
    task = "cascade/constraints/task/api"
    api = constraint("task:api", "pause")

    async def main():
        async with Line(broker) as line, connectors(broker) as controller, connectors(line) as engine:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            await controller.publish(GLOBAL, PAUSE, retain=True)
            await controller.publish(task, api, retain=True)
            await inbox.wait_for(2)
            await line.cut()
            await until(lambda: not engine._is_up)
            for payload in ({}, RATE, LIMIT):
                await controller.publish(GLOBAL, payload, retain=True)
            await until(lambda: not controller._outbox._sending)
            await line.mend()
            await inbox.wait_for(5)
            await controller.publish(task, {}, retain=True)
            await inbox.wait_for(6)
            return inbox.seen[2:]

    assert asyncio.run(main()) == [(GLOBAL, {}), (GLOBAL, RATE), (GLOBAL, LIMIT), (task, {})]


def test_a_pause_that_ended_while_nobody_was_connected_is_known_to_be_over(broker):
    """The broker keeps an empty message; late subscribers are not told of it, older ones lift the scope."""

    async def main():
        async with Line(broker) as line, connectors(broker) as controller, connectors(line) as engine:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            await controller.publish(GLOBAL, PAUSE, retain=True)
            await inbox.wait_for(1)
            await line.cut()
            await until(lambda: not engine._is_up)
            await controller.publish(GLOBAL, {}, retain=True)
            await until(lambda: not controller._outbox._sending)
            await line.mend()
            await inbox.wait_for(2)
        return inbox.seen, await retained(broker), await raw_retained(broker)

    assert asyncio.run(main()) == ([(GLOBAL, PAUSE), (GLOBAL, {})], [], {GLOBAL: {}})


def test_constraints_stay_in_force_where_the_broker_has_forgotten_them(broker):
    """A crash of the broker is no word of an operator; what comes then takes effect as ever."""

    async def main():
        async with connectors(broker) as engine:
            inbox = Inbox()
            await engine.subscribe(ALL, inbox)
            async with connectors(broker) as controller:
                await controller.publish(GLOBAL, PAUSE, retain=True)
                await inbox.wait_for(1)
            await restart(broker)
            await until(lambda: engine._is_up)
            assert await raw_retained(broker) == {}
            async with connectors(broker) as controller:
                await controller.publish(GLOBAL, {}, retain=True)
            await inbox.wait_for(2)
            return inbox.seen

    assert asyncio.run(main()) == [(GLOBAL, PAUSE), (GLOBAL, {})]


def test_what_the_broker_has_not_confirmed_is_sent_again(broker):
    """The connection breaks a hundred times while messages are on their way: none is missing."""

    async def main():
        async with Line(broker) as line, connectors(broker) as receiver, connectors(line) as sender:
            inbox = Inbox()
            await receiver.subscribe("t", inbox)
            for n in range(1000):
                await sender.publish("t", {"n": n}, qos=1)
                if n % 100 == 50:
                    await line.cut()
                    await asyncio.sleep(0.005)
                    await line.mend()
            await sender.disconnect()
            await until(lambda: len({payload["n"] for _, payload in inbox.seen}) == 1000)
            return [payload["n"] for _, payload in inbox.seen]

    received = asyncio.run(main())
    first = list(dict.fromkeys(received))

    assert first == list(range(1000))  # and in order, but for what came twice


def test_a_broker_that_does_not_answer_is_asked_again_soon(broker):
    """It has taken the connection and died: the client would wait for its whole timeout. Nothing stays of that."""

    async def main():
        async with Line(broker) as line, connectors(line) as engine:
            await line.cut()
            await line.mend()
            line.is_deaf = True
            await until(lambda: not engine._is_up)
            await until(lambda: line._writers)
            line.is_deaf = False
            await until(lambda: engine._is_up, 5)
        return other_tasks()

    before = open_files()

    assert asyncio.run(main()) == set()
    assert open_files() == before


def test_a_connection_that_breaks_while_subscribing_costs_no_subscription(broker):
    """``subscribe`` returns, and the callback gets what is published afterwards."""

    async def main():
        async with Line(broker) as line, connectors(broker) as sender, connectors(line) as receiver:
            inbox = Inbox()
            line.is_deaf = True
            subscribing = asyncio.create_task(receiver.subscribe("t", inbox))
            await asyncio.sleep(0.01)
            await line.cut()
            await line.mend()
            await asyncio.wait_for(subscribing, 5)  # the client alone would wait for its own timeout
            await until(lambda: receiver._is_up)
            await until(lambda: not receiver._link_tasks)
            await sender.publish("t", {"n": 1})
            await inbox.wait_for(1)
            return inbox.seen

    assert asyncio.run(main()) == [("t", {"n": 1})]
