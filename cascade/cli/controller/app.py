"""``cs-controller``: tell running engines to pause, to go on, or to do less.

    arguments -> checked -> constraints -> connector -> broker or database -> engines
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from cascade.cli._commands import application, run
from cascade.cli._endpoint import endpoint
from cascade.cli._usage import UsageError
from cascade.cli.controller._checks import check_concurrency, check_rate, check_scope, check_ttl
from cascade.common.messaging import bus
from cascade.common.renderers import CliRenderer
from cascade.connectors._constraint_topics import topic_of
from cascade.connectors.local import LocalConnector
from cascade.connectors.mqtt import MqttConnector
from cascade.runtime.constraints._scope import is_known
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.protocols import Connector

try:
    import typer
except ImportError:  # said by main; the functions work without
    typer = None  # type: ignore[assignment]

__all__ = ["app", "main", "pause", "resume", "set_limit"]

BACKENDS = ("mqtt", "local")
#: Seconds that a broker may take to confirm.
_PATIENCE = 10.0


# ------------------------------------------------------------------------------------------------------------- commands


def pause(
    scope: Annotated[str, typer.Argument(help="global, or task:PATTERN")] = "global",
    ttl: Annotated[int | None, typer.Option("--ttl", help="Seconds until it ends by itself.")] = None,
    backend: Annotated[str, typer.Option("--backend", help="mqtt or local.")] = "mqtt",
    hostname: Annotated[str, typer.Option("--host", help="Of the broker: [USER:PASSWORD@]HOST.")] = "localhost",
    port: Annotated[int, typer.Option("--port", help="Of the broker.")] = 1883,
) -> None:
    """Let no task of a scope start until it is resumed; running ones finish."""
    check_scope(scope)
    check_ttl(ttl)
    _finish(_publish_pause(scope=scope, ttl=ttl, backend=backend, hostname=hostname, port=port))


def resume(
    scope: Annotated[str, typer.Argument(help="global, or task:PATTERN")] = "global",
    backend: Annotated[str, typer.Option("--backend", help="mqtt or local.")] = "mqtt",
    hostname: Annotated[str, typer.Option("--host", help="Of the broker: [USER:PASSWORD@]HOST.")] = "localhost",
    port: Annotated[int, typer.Option("--port", help="Of the broker.")] = 1883,
) -> None:
    """Lift every constraint of a scope: pause and limits."""
    check_scope(scope)
    _finish(_publish_resume(scope=scope, backend=backend, hostname=hostname, port=port))


def set_limit(
    scope: Annotated[str, typer.Option("--scope", help="global, or task:PATTERN")] = ...,  # type: ignore[assignment]
    concurrency: Annotated[int | None, typer.Option("--concurrency", help="Tasks at a time.")] = None,
    rate: Annotated[str | None, typer.Option("--rate", help="Starts per unit, as 5/s, 100/min or 10/hour.")] = None,
    ttl: Annotated[int | None, typer.Option("--ttl", help="Seconds until it ends by itself.")] = None,
    backend: Annotated[str, typer.Option("--backend", help="mqtt or local.")] = "mqtt",
    hostname: Annotated[str, typer.Option("--host", help="Of the broker: [USER:PASSWORD@]HOST.")] = "localhost",
    port: Annotated[int, typer.Option("--port", help="Of the broker.")] = 1883,
) -> None:
    """Limit how many tasks of a scope run at a time, how often they start, or both."""
    check_scope(scope)
    check_concurrency(concurrency)
    check_rate(rate)
    check_ttl(ttl)
    if concurrency is None and rate is None:
        print("Error: Must provide either --concurrency or --rate.", file=sys.stderr)
        raise SystemExit(1)
    _finish(
        _publish_limit(
            scope=scope, concurrency=concurrency, rate=rate, ttl=ttl, backend=backend, hostname=hostname, port=port
        )
    )


def _finish(publishing: Coroutine[Any, Any, bool]) -> None:
    if asyncio.run(publishing) is False:
        raise SystemExit(1)


# ------------------------------------------------------------------------------------------------------- what they send


@dataclass(frozen=True)
class _Order:
    """A payload for the topic of a scope, and what is said when it is sent."""

    payload: dict[str, Any]
    msg_id: str
    data: dict[str, Any] = field(default_factory=dict)


async def _publish_pause(scope: str, ttl: int | None, backend: str, hostname: str, port: int) -> bool:
    """Return whether the pause was published; why not was said."""
    order = _Order(_constraint("pause", "pause", scope, {}, ttl), "controller.publishing")
    return await _publish(scope, [order], "controller.publish_success", backend, hostname, port)


async def _publish_resume(scope: str, backend: str, hostname: str, port: int) -> bool:
    """Return whether the end of all constraints of the scope was published; why not was said."""
    return await _publish(
        scope, [_Order({}, "controller.resuming")], "controller.resume_success", backend, hostname, port
    )


async def _publish_limit(
    scope: str, concurrency: int | None, rate: str | None, ttl: int | None, backend: str, hostname: str, port: int
) -> bool:
    """Return whether each of the limits was published; why not was said."""
    orders = []
    if concurrency is not None:
        payload = _constraint("concurrency", "concurrency", scope, {"limit": concurrency}, ttl)
        orders.append(_Order(payload, "controller.publishing_limit", {"limit": concurrency}))
    if rate is not None:
        payload = _constraint("ratelimit", "rate_limit", scope, {"rate": rate}, ttl)
        orders.append(_Order(payload, "controller.publishing_rate", {"rate": rate}))
    return await _publish(scope, orders, "controller.publish_limit_success", backend, hostname, port)


def _constraint(name: str, kind: str, scope: str, params: dict[str, Any], ttl: int | None) -> dict[str, Any]:
    expires_at = None if ttl is None else time.time() + ttl
    return asdict(GlobalConstraint(f"{name}-{scope}", scope, kind, params, expires_at))


async def _publish(
    scope: str, orders: Sequence[_Order], success_id: str, backend: str, hostname: str, port: int
) -> bool:
    place = endpoint(hostname, port)
    try:
        connector = _get_connector(backend, hostname, port)
        bus.info("controller.connecting", backend=backend, hostname=place.hostname, port=place.port)
        try:
            await connector.connect()
            bus.info("controller.connected")
            await _send(connector, scope, orders)
        finally:
            await connector.disconnect()
    except UsageError:
        raise
    except Exception as error:
        bus.error("controller.error", error=str(error) or type(error).__name__)
        return False
    bus.info(success_id)
    return True


async def _send(connector: Connector, scope: str, orders: Sequence[_Order]) -> None:
    topic = topic_of(scope)
    for order in orders:
        if order.payload and not is_known(scope):
            bus.warning("controller.scope_unknown", scope=scope)
        bus.info(order.msg_id, scope=scope, topic=topic, **order.data)
        await connector.publish(topic, order.payload, retain=True)
    # A connector that sends in the background has this too, on its class: not only on whatever stands for it.
    flush = getattr(type(connector), "flush", None)
    if flush is not None:
        await flush(connector, _PATIENCE)


def _get_connector(backend: str, hostname: str, port: int) -> Connector:
    """Return a connector of a backend, not connected.

    Raises:
        UsageError: there is no such backend or place.
        ImportError: the library that it needs is missing.
    """
    if backend == "mqtt":
        place = endpoint(hostname, port)
        return MqttConnector(hostname=place.hostname, port=place.port, **place.credentials)
    if backend == "local":
        return LocalConnector()
    raise UsageError(f"--backend: there is no {backend!r}; write one of {', '.join(BACKENDS)}")


# ---------------------------------------------------------------------------------------------------------- the process

app = application("Pause, resume and limit running engines.", pause=pause, resume=resume, set_limit=set_limit)


def main() -> int:
    """Run ``cs-controller``."""
    return run("cs-controller", app, bus, lambda: CliRenderer(bus.store))


if __name__ == "__main__":
    sys.exit(main())
