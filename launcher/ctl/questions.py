"""What comes of a question: waits, by the node's events, until the answers are in or a choice stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import UNSET, UnsetType

from api.client import Client, ReceivedEvent
from api.conversation import SYNTHESIS, Turn
from api.errors import ClientError, ConnectionLost
from api.node_commands import AutoCommand, ChooseCommand, LastCommand, ViewCommand
from launcher.ctl.arguments import Choice

_CLOSED = ("chosen", "no_choice", "cancelled", "deleted")
_CALLS_OFF = ("poll", "retried")
"""What may call off a synthesis, beside those."""


class Asked(msgspec.Struct):
    """Of a reply: the turn that it is about."""

    context: str
    turn: int
    synth: bool = False
    """What is awaited is a synthesis, and no choice."""
    created: int | UnsetType = UNSET
    """The position that created the conversation. Replies without it mean whichever has the name."""


class _About(msgspec.Struct):
    """The keys of events about a turn."""

    context: str = ""
    turn: int | None = None
    node: int | None = None
    have: int = 0
    of: int = 0
    error: str | None = None
    by: int | None = None


class Question:
    """One turn. `on_event` is to get what the client receives, from before the turn begins."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[ReceivedEvent] = asyncio.Queue()

    def on_event(self, event: ReceivedEvent) -> None:
        self._events.put_nowait(event)

    async def answered(self, client: Client, asked: Asked) -> Turn:
        """The turn, when all nodes that are asked have answered, or it is closed. Raises ClientError."""
        await self._until(client, asked, _has_all_answers)
        return await _look(client, asked)

    async def answered_again(self, client: Client, asked: Asked) -> Turn:
        """The turn with another answer. Raises ClientError, also if the former one stays."""
        failed: list[str] = []

        def is_over(name: str, about: _About) -> bool:
            if name == "answer" and about.error is not None:
                failed.append(f"node {about.node}: {about.error}")
            return name == "answer"

        await self._until(client, asked, is_over)
        if failed:
            raise ClientError(f"there is no other answer, the former one stays: {failed[0]}")
        return await _look(client, asked)

    async def synthesized(self, client: Client, asked: Asked) -> Turn:
        """The turn with the synthesis that was asked for. Raises ClientError, also if there is none."""
        said: list[_About] = []
        dropped: list[_About] = []

        def is_over(name: str, about: _About) -> bool:
            if name in ("synthesis", "dropped"):
                (said if name == "synthesis" else dropped).append(about)
            return name in ("synthesis", "dropped", *_CALLS_OFF)

        while True:
            await self._until(client, asked, is_over)
            if said and said[0].error is not None:
                raise ClientError(f"there is no synthesis: node {said[0].by}: {said[0].error}")
            found = await _look(client, asked)
            if not said and found.synthesis is not UNSET:
                continue  # it is still awaited
            if not (said or dropped) or SYNTHESIS not in found.candidates:  # there may be an earlier one
                raise ClientError("the synthesis was called off")
            return found

    async def choose(self, client: Client, asked: Asked, choice: Choice) -> Turn:
        """The turn with the choice, or with none if the nodes could not choose. Raises ClientError."""
        await client.run(ChooseCommand(asked.context, choice, turn=asked.turn, created=asked.created))
        return await self.chosen(client, asked)

    async def chosen(self, client: Client, asked: Asked) -> Turn:
        """The turn, when a choice stands, or the nodes could not choose. Raises ClientError."""
        await self._until(client, asked, lambda name, about: False)
        return await _look(client, asked)

    async def _until(self, client: Client, asked: Asked, over: Callable[[str, _About], bool]) -> None:
        """Raises ConnectionLost."""
        while True:
            event = await self._next(client)
            about = msgspec.json.decode(event.raw, type=_About)
            if event.name == "dropped":
                if over(event.name, about) or not (await _look(client, asked)).open:
                    return
            elif about.context == asked.context and about.turn in (asked.turn, None) and (
                event.name in _CLOSED or over(event.name, about)
            ):
                return

    async def _next(self, client: Client) -> ReceivedEvent:
        getting = asyncio.ensure_future(self._events.get())
        try:
            await client.ended_or(getting)
            if getting.done():
                return getting.result()
            raise ConnectionLost("the node exited; the question stays open, and can be viewed at the others")
        finally:
            getting.cancel()


async def left_to_nodes(client: Client, context: str) -> bool:
    """The nodes choose by themselves in this conversation. Raises ClientError."""
    return (await client.run(AutoCommand(context))).auto


def has_polled(turn: Turn) -> bool:
    """A poll is over, or was given up."""
    return turn.poll is not UNSET and not turn.poll.open


def _has_all_answers(name: str, about: _About) -> bool:
    if name == "answer" and about.error is None:
        return True
    return name in ("answer", "candidate") and about.have >= about.of


async def _look(client: Client, asked: Asked) -> Turn:
    """Raises ClientError."""
    last = await client.run(LastCommand(asked.context))
    _require_same(asked, last.created)
    if last.turn == asked.turn and last.last is not None:
        return last.last
    view = await client.run(ViewCommand(asked.context))  # somebody has asked the next question
    _require_same(asked, view.created)
    if len(view.turns) < asked.turn:
        raise ConnectionLost(f"question {asked.turn} of '{asked.context}' is not there any more")
    return view.turns[asked.turn - 1]


def _require_same(asked: Asked, created: int | UnsetType) -> None:
    """Raises ClientError if another conversation has the name by now."""
    if UNSET not in (asked.created, created) and created != asked.created:
        raise ClientError(f"the conversation '{asked.context}' has another name by now, or is gone")
