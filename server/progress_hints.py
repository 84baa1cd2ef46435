"""How far the LLMs are, told from node to node beside the log: small, rare, and no loss when lost.

A hint goes to the node where the question was typed. It holds no text of the answer, only how much there is.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from kvstore.operations import Ask, Query, Retry
from kvstore.store import Outcome
from llm.requests import Request

EVERY_S = 0.5
"""Between two hints about one answer."""
_QUESTIONS = 256
"""About so many questions, the last ones, hints are sent."""
_MAX_BYTES = 1024


class Hint(msgspec.Struct, frozen=True, array_like=True):
    """The answer to turn `turn` has `pieces` pieces (about a token each) so far; 0: the LLM has just begun."""

    context: str
    turn: int
    pieces: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Hint)


def decode(payload: bytes | memoryview) -> Hint | None:
    """None for what makes no sense here."""
    if len(payload) > _MAX_BYTES:
        return None
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class Hints:
    """Of node `number`. `send` is the door to the network, `tell` to this node's own users: (node, hint)."""

    def __init__(
        self, number: int, send: Callable[[int, bytes], None], tell: Callable[[int, Hint], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number = number
        self._send = send
        self._tell = tell
        self._clock = clock
        self._asked_at: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._sent: dict[tuple[str, int], float] = {}

    def on_applied(self, outcome: Outcome, origin: int) -> None:
        """To be called before anybody acts on the operation: whose question is it?"""
        if outcome.ok and isinstance(outcome.operation, (Query, Ask, Retry)) and outcome.turn is not None:
            key = outcome.operation.context, outcome.turn
            self._asked_at[key] = origin
            self._asked_at.move_to_end(key)
            self._sent.pop(key, None)
            if len(self._asked_at) > _QUESTIONS:
                forgotten, _ = self._asked_at.popitem(last=False)
                self._sent.pop(forgotten, None)

    def on_progress(self, duty: Request, pieces: int) -> None:
        """This node's LLM has got so far."""
        key, now = (duty.context, duty.turn), self._clock()
        origin = self._asked_at.get(key)
        if origin is None or duty.kind == "ranking" or (pieces and now - self._sent.get(key, now - EVERY_S) < EVERY_S):
            return
        self._sent[key] = now
        hint = Hint(duty.context, duty.turn, pieces)
        if origin == self._number:
            self._tell(self._number, hint)
        else:
            self._send(origin, _encoder.encode(hint))

    def on_message(self, sender: int, payload: bytes) -> None:
        """A hint from another node."""
        hint = decode(payload)
        if hint is not None:
            self._tell(sender, hint)
