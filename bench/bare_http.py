"""A server that reads each request and answers the same: what the library that serves HTTP takes by itself.

As a process: python -m bench.bare_http. It prints its port when it is ready.
"""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web

HOST = "127.0.0.1"
_ANSWER = b'{"result":"cancel","ok":true,"context":"p-0-0","turn":1,"position":1}'


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=_ANSWER, content_type="application/json")


async def serve() -> None:
    app = web.Application()
    app.router.add_post("/api/{command}", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(runner.server, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
