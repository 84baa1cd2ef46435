"""Finds the node that a command is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import aclosing, suppress
from typing import Any, Literal, TypeVar

from api.base import Result
from api.client import Client, ReceivedEvent
from api.errors import ClientError, NoAnswer, Unreachable
from api.node_events import LeaderEvent
from api.sockets import socket_path
from config.config import Config
from launcher.configuration import nodes_to_start

ANSWERS_WITHIN_S = 2.0
"""A node that is paused does not."""

T = TypeVar("T")


class _Status(Result, frozen=True):
    """What counts here of `status`."""

    leader: int | None = None


async def find(config: Config, wanted: Literal["leader", "any"], timeout_s: float | None) -> int:
    """The number of the leader, or of a node that answers: if there is one, one that knows a leader. Raises
    ClientError."""
    nodes = nodes_to_start(config)
    answered: list[int] = []
    async with aclosing(_in_turn(_leader_at(config, number) for number in nodes)) as found:
        async for number, leader in found:
            if leader is not None:
                return leader if wanted == "leader" else number
            answered.append(number)
    if not answered:
        raise Unreachable(f"no node of cluster '{config.cluster}' answers here: ./run.sh starts them", missing=True)
    if wanted == "any":
        return answered[0]
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            async with aclosing(_in_turn(_next_leader(config, each) for each in answered)) as seen:
                async for leader in seen:
                    return leader
    raise NoAnswer("no node knows a leader")


async def _in_turn(looking: Iterable[Coroutine[Any, Any, T]]) -> AsyncGenerator[T, None]:
    """The results of those that have one, as they come; the others are given up when nobody asks any more."""
    tasks = {asyncio.ensure_future(each) for each in looking}
    try:
        while tasks:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.exception() is None:
                    yield task.result()
                elif not isinstance(task.exception(), ClientError):
                    task.result()
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _leader_at(config: Config, number: int) -> tuple[int, int | None]:
    """The node, and whom it takes for the leader. Raises ClientError."""
    async with await Client.connect(socket_path(config.data_dir, number)) as client:
        reply = await client.run_line("status", ANSWERS_WITHIN_S)
        return number, reply.result(_Status).leader


async def _next_leader(config: Config, number: int) -> int:
    """The leader, as soon as this node sees one. Raises ClientError."""
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_event(event: ReceivedEvent) -> None:
        leader = event.decode(LeaderEvent).leader if event.name == "leader" else None
        if leader is not None and not seen.done():
            seen.set_result(leader)

    async with await Client.connect(socket_path(config.data_dir, number), on_event=on_event) as client:
        await client.ended_or(seen)
    if not seen.done():
        raise Unreachable(f"node {number} exited")
    return seen.result()
