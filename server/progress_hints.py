"""The LLMs' progress, sent between nodes outside the log: small, rare, and harmless when lost.

A hint goes to the node where the question was typed. It holds only the length of the answer so far, not its text.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated

import msgspec

from engine.interface import AppliedOperation
from kvstore.operations import ASKING
from kvstore.rules import MAX_CONTEXT_CHARS, MAX_TURN, check_context
from llm.requests import Request

EVERY_S = 0.5
"""Seconds between two hints about one answer."""
_QUESTIONS = 256
"""Hints are sent about this many of the latest questions."""
_MAX_BYTES = 1024


class Hint(msgspec.Struct, frozen=True, array_like=True):
    """The answer to turn `turn`, or its synthesis, has `pieces` pieces (about a token each) so far; 0: the LLM has just
    started."""

    context: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CONTEXT_CHARS)]
    turn: Annotated[int, msgspec.Meta(ge=1, le=MAX_TURN)]
    pieces: Annotated[int, msgspec.Meta(ge=0, le=MAX_TURN)]
    synthesis: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Hint)


def decode(payload: bytes | memoryview) -> Hint | None:
    """None for an invalid hint."""
    if len(payload) > _MAX_BYTES:
        return None
    try:
        hint = _decoder.decode(payload)
        return None if check_context(hint.context) else hint
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class ProgressHints:
    """Of node `number`. `send` sends a hint to another node, `tell` gets (node, hint) for this node's own users."""

    def __init__(
        self, number: int, send: Callable[[int, bytes], None], tell: Callable[[int, Hint], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number = number
        self._send = send
        self._tell = tell
        self._clock = clock
        self._asked_at: OrderedDict[tuple[str, int], int] = OrderedDict()
        """(context id, turn) -> the node where the question was typed."""
        self._sent: dict[tuple[str, int], dict[bool, float]] = {}
        """When a hint was sent last, about an answer or a synthesis."""

    def on_applied(self, applied: AppliedOperation) -> None:
        """To be called before anybody acts on the operation."""
        outcome = applied.outcome
        if type(outcome.operation) not in ASKING:
            return
        context, turn = outcome.context, outcome.turn
        if outcome.ok and context is not None and turn is not None:
            key = context, turn
            self._asked_at[key] = applied.id.node
            self._asked_at.move_to_end(key)
            self._sent.pop(key, None)
            if len(self._asked_at) > _QUESTIONS:
                forgotten, _ = self._asked_at.popitem(last=False)
                self._sent.pop(forgotten, None)

    def on_progress(self, request: Request, pieces: int) -> None:
        """Progress of this node's LLM."""
        key, now = (request.context, request.turn), self._clock()
        origin = self._asked_at.get(key)
        if origin is None or request.kind == "ranking":
            return
        is_synthesis, sent = request.kind == "synthesis", self._sent.setdefault(key, {})
        if pieces and now - sent.get(is_synthesis, now - EVERY_S) < EVERY_S:
            return
        sent[is_synthesis] = now
        hint = Hint(request.context, request.turn, pieces, is_synthesis)
        if origin == self._number:
            self._tell(self._number, hint)
        else:
            self._send(origin, _encoder.encode(hint))

    def on_hint(self, sender: int, payload: bytes) -> None:
        """From another node."""
        hint = decode(payload)
        if hint is not None:
            self._tell(sender, hint)
