"""POST /v1/chat/completions, as OpenAI's clients know it: the cluster's answer, or several nodes' answers as choices.

A call without a name for its conversation has one of its own, which is deleted after a while.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from kvstore.conversation import Turn
from kvstore.operations import AskOnce
from kvstore.packed_turns import pack
from kvstore.rules import check_context
from web.bodies import Bodies
from web.chat_stream import Asked, ChatStream, finish_reason, frames
from web.errors import ApiError
from web.guard import json_response
from web.hub import Hub
from web.messages import Message, chat_of, tokens
from web.models import Model, model_of
from web.questions import Questions, key_of
from web.streams import Pulse, Streams

CHAT_HEADER = "X-OpenWebUI-Chat-Id"


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatRequest(msgspec.Struct):
    """What of a request has a meaning here. How an LLM is to sample is each node's own affair: `temperature` and the
    like are taken and ignored."""

    model: str
    messages: list[Message]
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    modalities: list[Any] | None = None


class ChatCompletions:
    def __init__(self, hub: Hub, bodies: Bodies, streams: Streams, questions: Questions) -> None:
        self._hub = hub
        self._bodies = bodies
        self._streams = streams
        self._questions = questions

    async def post(self, request: web.Request) -> web.StreamResponse:
        wanted = await self._bodies.decode(request, ChatRequest)
        model = model_of(wanted.model, self._hub.session.members)
        count = self._checked(wanted, model)
        chat = chat_of(wanted.messages, self._hub.number, "messages")
        key = key_of(request.headers.get("Idempotency-Key"))
        context = _named(request, wanted)
        operation = AskOnce(
            context or f"api-{key}", chat.question, key, model.kind, pack(chat.history), temporary=context is None,
        )
        question = await self._questions.put(operation, model)
        options = wanted.stream_options
        asked = Asked(
            wanted.model, question, count, sum(_size(message) for message in wanted.messages),
            wants_usage=options is not None and bool(options.include_usage),
        )
        if wanted.stream:
            return await self._stream(request, asked)
        return json_response(_completion(asked, await self._questions.answer(request, question)))

    def _checked(self, wanted: ChatRequest, model: Model) -> int:
        """How many choices are wanted. Raises ApiError for what would change the meaning of an answer if it were
        ignored."""
        kind = (wanted.response_format or {}).get("type", "text")
        for param, odd in (
            ("tools", bool(wanted.tools)), ("functions", bool(wanted.functions)), ("logprobs", bool(wanted.logprobs)),
            ("response_format", kind != "text"),
            ("modalities", any(mode != "text" for mode in wanted.modalities or [])),
        ):
            if odd:
                raise ApiError(400, f"{param} is not supported: nodes answer in text", param=param)
        most = len(self._hub.session.members) if model.node is None and model.kind == "query" else 1
        count = 1 if wanted.n is None else wanted.n
        if not 1 <= count <= most:
            raise ApiError(400, f"n is from 1 to {most} with the model {model.name}: one for each node", param="n")
        return count

    async def _stream(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        response = await self._streams.begin(request)
        stream = ChatStream(asked, self._hub.drafts, response.write)
        last = b""
        try:
            await stream.begin()
            shown = [asked.question.context] if ChatStream.shows_drafts(asked) else []
            with self._hub.drafts.watching(shown):
                async with Pulse(response):
                    turn = await self._questions.answer(request, asked.question, stream.look)
            await stream.end(turn)
        except ApiError as error:
            last = frames([error.body])
        except ConnectionError:
            return response  # the client has gone; the question stays
        finally:
            await self._streams.end(response, last)
        return response


def _named(request: web.Request, wanted: ChatRequest) -> str | None:
    """The conversation that the request names; None if it names none. Raises ApiError."""
    for param, named in (
        ("metadata.context", (wanted.metadata or {}).get("context")),
        (CHAT_HEADER, request.headers.get(CHAT_HEADER)), ("user", wanted.user),
    ):
        if named:
            mistake = check_context(named) if isinstance(named, str) else "a context id is a string"
            if mistake is not None:
                raise ApiError(400, mistake, param=param)
            return str(named)
    return None


def choices_of(turn: Turn, count: int) -> list[int]:
    """The nodes whose answers are the choices: the chosen one first, then the others by number."""
    others = [node for node in turn.answered if node != turn.chosen]
    return ([] if turn.chosen is None else [turn.chosen]) + others[: count - 1]


def _completion(asked: Asked, turn: Turn) -> dict[str, Any]:
    nodes = choices_of(turn, asked.count)
    return {
        **asked.head, "object": "chat.completion", "choices": [
            {
                "index": index, "logprobs": None,
                "message": {"role": "assistant", "content": turn.candidates[node].text, "refusal": None},
                "finish_reason": finish_reason(turn.candidates[node]), "node": node,
            } for index, node in enumerate(nodes)
        ],
        "usage": asked.usage(turn, nodes), "consensus": asked.consensus(turn),
    }


def _size(message: Message) -> int:
    content = message.content
    texts = [content or ""] if isinstance(content, str | None) else [part.text or "" for part in content]
    return sum(map(tokens, texts))
