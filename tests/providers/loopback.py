"""An HTTP server on loopback, with an event loop in a thread of its own, so that ``cs.run`` can be used beside it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

__all__ = ["Handler", "describe", "serving"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextmanager
def serving(**handlers: Handler) -> Iterator[str]:
    """Serve each handler, for every method, under the path of its name and below; yield the server's URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def do(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    # The client sees to it that nothing is left; the server need not wait for it.
    runner = do(_start(handlers))
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        do(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(handlers: dict[str, Handler]) -> web.AppRunner:
    app = web.Application(client_max_size=2**30)
    for name, handler in handlers.items():
        app.router.add_route("*", f"/{name}", handler)
        app.router.add_route("*", f"/{name}/{{tail:.*}}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def describe(request: web.Request) -> web.Response:
    """Answer with what was asked, as JSON: method, query, headers, and the body by its kind."""
    told: dict[str, Any] = {
        "method": request.method,
        "query": [list(pair) for pair in request.query.items()],
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "length": request.content_length,
    }
    if request.content_type.startswith("multipart/"):
        told["parts"] = [
            [part.name, part.filename, part.headers.get("Content-Type"), (await part.read()).decode()]
            async for part in await request.multipart()
        ]
    else:
        told["body"] = (await request.read()).decode("latin-1")
    return web.json_response(told)
