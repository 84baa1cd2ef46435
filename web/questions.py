"""Questions of HTTP clients: put once, followed until they have an answer, chosen as the model says.

All that counts is in the store: whoever repeats a question with its key, at whatever node, follows the same turn, and
gets the same answer. A node that dies meanwhile takes nothing with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from aiohttp import web

from api.base import Failure, Result
from api.errors import InvalidCommand
from api.node_commands import CancelCommand, ChooseCommand
from kvstore.conversation import Conversation, Kind, State, Turn
from kvstore.operations import AskOnce
from kvstore.packed_turns import unpack
from server.session import AskedOnce
from web.errors import ApiError, failed
from web.hub import Hub
from web.models import Model

MAX_QUESTIONS = 512
"""Followed at a time, at a node."""
PUT_WITHIN_S = 30.0
ANSWERED_WITHIN_S = 540.0
"""Less than clients wait by default."""
_LOOK_EVERY_S = 1.0
"""Whatever happens, a turn is looked at so often."""

Look = Callable[[Turn], Awaitable[None]]


class Question(msgspec.Struct, frozen=True):
    """Turn `turn` of the conversation `context` that was created at position `created`, at `at` in milliseconds since
    1970."""

    context: str
    turn: int
    created: int
    at: int
    model: Model


def key_of(given: str | None) -> str:
    """What the store remembers of an Idempotency-Key; another one each time if there is none. Raises ApiError."""
    if given is None:
        return secrets.token_hex(16)
    if not 1 <= len(given) <= 255:
        raise ApiError(400, "an Idempotency-Key has 1 to 255 characters", param="Idempotency-Key")
    return hashlib.sha256(given.encode(errors="surrogateescape")).hexdigest()[:32]


class Questions:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._followed = 0

    async def put(self, operation: AskOnce, model: Model) -> Question:
        """Raises ApiError."""
        try:
            result = await self.decided(lambda: self._hub.session.ask_once(operation))
        except ApiError as error:
            if error.status == 409 and operation.context not in self._hub.session.conversations:
                raise ApiError(404, str(error), param="conversation", code="conversation_not_found") from None
            raise
        assert isinstance(result, AskedOnce)
        conversation = result.conversation
        question = Question(operation.context, result.turn, conversation.created, conversation.at, model)
        self.turn_of(question)
        if operation.temporary and not _same_history(conversation, result.turn, operation.history or b""):
            raise ApiError(409, "another request had this Idempotency-Key", param="Idempotency-Key", retry=False)
        return question

    async def answer(self, request: web.Request, question: Question, look: Look | None = None) -> Turn:
        """The turn once it has an answer, which the nodes choose if they are to. `look` gets it whenever it, or what is
        written of its answers, may have changed, and at the end. Raises ApiError, also when the client has gone."""
        if self._followed >= MAX_QUESTIONS:
            raise ApiError(429, f"this node follows {MAX_QUESTIONS} questions: try another node", code="busy")
        self._followed += 1
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                return await self._follow(request, question, look)
        except TimeoutError:
            raise ApiError(
                504, f"no answer within {ANSWERED_WITHIN_S:g} s ({self._hub.session.waiting_for()}); the question "
                "stays open: repeat it with its Idempotency-Key", code="not_answered_yet",
            ) from None
        finally:
            self._followed -= 1

    def turn_of(self, question: Question) -> Turn:
        """Raises ApiError if it is gone."""
        conversations = self._hub.session.conversations
        found = conversations.get(question.context)
        if found is None or found.created != question.created:  # it may have another name since it was answered
            found = next((one for one in conversations.values() if one.created == question.created), None)
        if found is None:
            raise gone(question.context)
        return found.turns[question.turn - 1]

    async def _follow(self, request: web.Request, question: Question, look: Look | None) -> Turn:
        while True:
            with self._hub.expecting(question.context) as change:  # what comes while a client is slow is not missed
                turn = self.turn_of(question)
                if look is not None:
                    await look(turn)
                if turn.state is State.CHOSEN:
                    return turn
                if turn.state is State.CANCELLED:
                    raise _no_answer(turn)
                if request.transport is None:
                    raise ApiError(499, "the client has gone; the question stays", code="client_gone")
                if not await self._go_on(question, turn):
                    await self._hub.until(change, _LOOK_EVERY_S)

    async def _go_on(self, question: Question, turn: Turn) -> bool:
        """Does what is to be done now for an answer; False if nothing is, or it was in vain."""
        context, number = question.context, question.turn
        choice = _choice(turn, question.model, self._live())
        if choice is None:
            return False
        session = self._hub.session
        if choice == "none":
            answer: Awaitable[Result | Failure] = session.cancel(CancelCommand(context, number, question.created))
        else:
            answer = session.choose(ChooseCommand(context, choice, True, number, question.created))
        return (await self._hub.result(answer, ANSWERED_WITHIN_S)).ok

    def _live(self) -> set[int]:
        """The members that this node can expect to answer."""
        status = self._hub.session.node_status()
        return set(self._hub.session.members) & {status.node, *status.links}

    async def decided(self, start: Callable[[], Awaitable[Result | Failure]]) -> Result:
        """The result of a command. Raises ApiError."""
        try:
            result = await self._hub.result(start(), PUT_WITHIN_S)
        except InvalidCommand as wrong:
            raise ApiError(400, str(wrong)) from None
        except TimeoutError:
            raise ApiError(
                504, f"not decided within {PUT_WITHIN_S:g} s ({self._hub.session.waiting_for()}); it may still take "
                "effect: repeat it with its Idempotency-Key", code="not_decided_yet",
            ) from None
        if isinstance(result, Failure):
            raise failed(result)
        return result


def _same_history(conversation: Conversation, turn: int, packed: bytes) -> bool:
    """Whether what precedes the turn is what the client says."""
    there = [(before.text, before.answer and before.answer.text) for before in conversation.turns[: turn - 1]]
    return there == [(given.text, given.candidates[0].text) for given in unpack(packed)]


def _choice(turn: Turn, model: Model, live: set[int]) -> int | Literal["auto", "none"] | None:
    """What is to be done in an open turn: choose a node's answer, let the nodes choose ("auto"), give up ("none"); or
    wait, if None."""
    choices = turn.choices
    if model.node is not None:
        if model.node in choices:
            return model.node
        return None if model.node in live - turn.candidates.keys() else "none"
    if live - turn.candidates.keys() or turn.open_poll is not None or turn.open_synthesis is not None:
        return None
    if not choices:
        return "none"
    if turn.kind is Kind.ASK:
        return None
    return "auto" if len(choices) > 1 and turn.poll is None else turn.answered[0]


def _no_answer(turn: Turn) -> ApiError:
    """Of a cancelled turn."""
    reasons = [f"node {node}: {said.error}" for node, said in turn.candidates.items() if said.error is not None]
    if reasons:
        return ApiError(502, f"no node has an answer: {'; '.join(reasons)}", code="no_answer", retry=False)
    return ApiError(409, "the question was cancelled", code="cancelled", retry=False)


def gone(context: str) -> ApiError:
    return ApiError(404, f"the conversation '{context}' was deleted", code="conversation_deleted")
