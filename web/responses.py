"""/v1/responses, as OpenAI's clients know them: a question in a conversation, and the answer that the cluster chooses.

All candidates come with it. In the background, a question stays open until somebody chooses, here or at a prompt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

import msgspec
from aiohttp import web

from api.node_commands import CancelCommand, ChooseCommand
from kvstore.conversation import Turn
from kvstore.operations import AskOnce
from kvstore.packed_turns import pack
from web.bodies import Bodies
from web.conversations import be_level
from web.errors import ApiError
from web.guard import json_response
from web.hub import Hub
from web.ids import context_of, turn_of
from web.messages import Chat, Message, chat_of
from web.models import ASK, CONSENSUS, Model, model_of
from web.questions import Question, Questions, key_of
from web.response_records import Event, begin_events, delta_event, end_events, response_record
from web.streams import Pulse, Streams
from web.watched_drafts import WatchedDrafts
from web.written import SingleAnswer


class ConversationName(msgspec.Struct):
    id: str


class ResponseRequest(msgspec.Struct):
    """What of a request has a meaning here; how an LLM is to sample is each node's own affair."""

    input: str | list[Message]
    model: str = CONSENSUS
    conversation: str | ConversationName | None = None
    previous_response_id: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    background: bool | None = None
    tools: list[Any] | None = None
    metadata: dict[str, Any] | None = None


class ChooseRequest(msgspec.Struct):
    node: int | Literal["auto", "synth"] = "auto"


class Responses:
    def __init__(self, hub: Hub, bodies: Bodies, streams: Streams, questions: Questions) -> None:
        self._hub = hub
        self._bodies = bodies
        self._streams = streams
        self._questions = questions

    async def create(self, request: web.Request) -> web.StreamResponse:
        wanted = await self._bodies.decode(request, ResponseRequest)
        if wanted.tools:
            raise ApiError(400, "tools are not supported: nodes answer in text", param="tools")
        model = model_of(wanted.model, self._hub.session.members)
        chat = self._chat(wanted)
        key = key_of(request.headers.get("Idempotency-Key"))
        context = self._conversation(wanted)
        question = await self._questions.put(AskOnce(
            context or f"api-{key}", chat.question, key, model.kind, None if context else pack(chat.history),
            temporary=context is None,
        ), model)
        if wanted.stream:
            return await self._stream(request, question)
        if wanted.background:
            return json_response(self._record(question))
        return json_response(self._record(question, await self._questions.answer(request, question)))

    async def get(self, request: web.Request) -> web.Response:
        return json_response(self._record(await self._find(request)))

    async def choose(self, request: web.Request) -> web.Response:
        """The answer of a node, or, with "auto", what the nodes choose; the response then is complete. With "synth",
        the leader is asked for a synthesis, and the response stays open: it is a candidate when it is in."""
        wanted = await self._bodies.decode(request, ChooseRequest)
        question = await self._find(request)
        turn = self._questions.turn_of(question)
        if wanted.node == "auto":
            return json_response(self._record(question, await self._questions.answer(request, question)))
        if turn.chosen != wanted.node:
            command = ChooseCommand(question.context, wanted.node, True, question.turn, question.created)
            await self._questions.decided(lambda: self._hub.session.choose(command))
        return json_response(self._record(question))

    async def cancel(self, request: web.Request) -> web.Response:
        question = await self._find(request)
        if not self._questions.turn_of(question).cancelled:
            command = CancelCommand(question.context, question.turn, question.created)
            await self._questions.decided(lambda: self._hub.session.cancel(command))
        return json_response(self._record(question))

    def _chat(self, wanted: ResponseRequest) -> Chat:
        given = [Message("user", wanted.input)] if isinstance(wanted.input, str) else wanted.input
        instructions = [Message("system", wanted.instructions)] if wanted.instructions else []
        chat = chat_of([*instructions, *given], self._hub.number, "input")
        if chat.history and (wanted.conversation is not None or wanted.previous_response_id is not None):
            raise ApiError(400, "the conversation has its own history: send the new question only", param="input")
        return chat

    def _conversation(self, wanted: ResponseRequest) -> str | None:
        """The context id of the conversation that the request names; None if it names none. Raises ApiError."""
        if wanted.conversation is not None:
            named = wanted.conversation
            return context_of(named if isinstance(named, str) else named.id)
        if wanted.previous_response_id is not None:
            return turn_of(wanted.previous_response_id, "previous_response_id")[0]
        return None

    async def _find(self, request: web.Request) -> Question:
        context, number = turn_of(request.match_info["response"])
        await be_level(self._hub)
        conversation = self._hub.session.conversations.get(context)
        if conversation is None or not 1 <= number <= len(conversation.turns):
            raise ApiError(404, "there is no such response", code="response_not_found")
        kind = conversation.turns[number - 1].kind
        model = Model(ASK if kind == "ask" else CONSENSUS, kind.value)
        return Question(context, number, conversation.created, conversation.at, model)

    def _record(self, question: Question, turn: Turn | None = None) -> dict[str, Any]:
        return response_record(question, turn or self._questions.turn_of(question))

    async def _stream(self, request: web.Request, question: Question) -> web.StreamResponse:
        begun = self._record(question)
        response = await self._streams.begin(request)
        stream = _Stream(question, self._hub.drafts, response.write)
        last = b""
        try:
            await stream.send([(kind, {"response": begun}) for kind in ("response.created", "response.in_progress")])
            shown = [question.context] if SingleAnswer.is_written_by_one(question) else []
            with self._hub.drafts.watching(shown):
                async with Pulse(response):
                    turn = await self._questions.answer(request, question, stream.look)
            await stream.end(turn)
        except ApiError as error:
            last = self._last(stream, question, error)
        except ConnectionError:
            return response  # the client has gone; the question stays
        finally:
            await self._streams.end(response, last)
        return response

    def _last(self, stream: _Stream, question: Question, error: ApiError) -> bytes:
        details = error.body.error
        if error.status == 502 and details.code == "no_answer":
            try:
                return stream.frame("response.failed", {"response": self._record(question)})
            except ApiError as gone:
                details = gone.body.error
        return stream.frame("error", {
            "code": details.code or details.type, "message": details.message, "param": details.param,
        })


class _Stream:
    """The events of one response."""

    def __init__(self, question: Question, drafts: WatchedDrafts, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._question = question
        self._write = write
        self._single = SingleAnswer(question, drafts)
        self._number = 0
        self._has_text = False

    async def look(self, turn: Turn) -> None:
        """Sends what is written of the answer, if it is known to be the answer."""
        if SingleAnswer.is_written_by_one(self._question):
            await self._send_text(self._single.more(turn)[1])

    async def end(self, turn: Turn) -> None:
        """The answer is chosen. Raises ApiError if what was sent of it does not stand."""
        rest, too_much = self._single.rest(turn)
        await self._send_text(rest)
        await self.send(end_events(response_record(self._question, turn, is_cut=too_much)))

    async def send(self, events: Iterable[Event]) -> None:
        await self._write(b"".join(self.frame(kind, fields) for kind, fields in events))

    def frame(self, kind: str, fields: dict[str, Any]) -> bytes:
        record = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(record))

    async def _send_text(self, text: str) -> None:
        if text:
            begin = () if self._has_text else begin_events(self._question)
            self._has_text = True
            await self.send([*begin, delta_event(self._question, text)])
