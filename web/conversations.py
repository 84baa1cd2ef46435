"""/v1/conversations, as OpenAI's clients know them. They are the conversations of the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from api.base import Result
from api.node_commands import DeleteCommand
from engine.interface import Busy
from kvstore.conversation import Conversation
from kvstore.operations import Create, SetTitle
from kvstore.rules import check_title
from server.conversations import delete
from web.bodies import Bodies
from web.errors import ApiError
from web.guard import json_response
from web.hub import Hub
from web.ids import context_of, conversation_id, message_id
from web.questions import Questions, gone, key_of

_MOST = 100
"""Records of one page."""
_PAGE = 20
_ATTEMPTS = 5
"""To read, each of two seconds or more."""


class CreateRequest(msgspec.Struct):
    """`metadata.context` is the context id; without it, one is drawn. `metadata.title` is what users call it."""

    metadata: dict[str, Any] | None = None
    items: list[Any] | None = None


class UpdateRequest(msgspec.Struct):
    """`metadata.title` is what users call it from now on; an empty one takes its title away."""

    metadata: dict[str, Any]


class _Changed(Result, frozen=True, kw_only=True):
    conversation: Conversation


class Conversations:
    def __init__(self, hub: Hub, bodies: Bodies, questions: Questions) -> None:
        self._hub = hub
        self._bodies = bodies
        self._questions = questions

    async def create(self, request: web.Request) -> web.Response:
        wanted = await self._bodies.decode(request, CreateRequest)
        if wanted.items:
            raise ApiError(400, "a conversation begins empty: put questions with /v1/responses", param="items")
        given = request.headers.get("Idempotency-Key")
        named = (wanted.metadata or {}).get("context")
        if named is not None and not isinstance(named, str):
            raise ApiError(400, "a context id is a string", param="metadata.context")
        context = context_of(named or f"api-{key_of(given)}", "metadata.context")
        title = _title_in(wanted.metadata)
        try:
            made = await self._decided(Create(context))
        except ApiError as error:
            there = self._hub.session.conversations.get(context)
            if error.status != 409 or given is None or there is None:
                raise
            made = there
        if title:
            if self._hub.session.conversations.get(context) is not made:
                raise gone(context)
            made = await self._decided(SetTitle(context, title))
        return json_response(_record(made))

    async def update(self, request: web.Request) -> web.Response:
        """Only the title can change."""
        wanted = await self._bodies.decode(request, UpdateRequest)
        conversation = await self._find(request)
        title = _title_in(wanted.metadata)
        if title is None:
            raise ApiError(400, "only metadata.title of a conversation can change", param="metadata")
        return json_response(_record(await self._decided(SetTitle(conversation.context, title))))

    async def list(self, request: web.Request) -> web.Response:
        await self._be_level()
        found = self._hub.session.conversations.values()
        records = [_record(conversation) for conversation in found if not conversation.temporary]
        return json_response(page(request, records, descending=True))

    async def get(self, request: web.Request) -> web.Response:
        return json_response(_record(await self._find(request)))

    async def items(self, request: web.Request) -> web.Response:
        conversation = await self._find(request)
        return json_response(page(request, items_of(conversation), descending=True))

    async def delete(self, request: web.Request) -> web.Response:
        context = context_of(request.match_info["conversation"])
        command = DeleteCommand(context, (await self._find(request)).created)
        await self._questions.decided(lambda: delete(self._hub.session, command))
        return json_response({"id": conversation_id(context), "object": "conversation.deleted", "deleted": True})

    async def _decided(self, operation: Create | SetTitle) -> Conversation:
        """The conversation that it has made or changed, whatever it is called by now. Raises ApiError."""
        session, context = self._hub.session, operation.context
        changed = await self._questions.decided(
            lambda: session.submit(operation, lambda turn: _Changed(conversation=session.conversations[context]))
        )
        assert isinstance(changed, _Changed)
        return changed.conversation

    async def _find(self, request: web.Request) -> Conversation:
        context = context_of(request.match_info["conversation"])
        await self._be_level()
        found = self._hub.session.conversations.get(context)
        if found is None:
            raise ApiError(404, f"no conversation '{context}'", code="conversation_not_found")
        return found

    async def _be_level(self) -> None:
        await be_level(self._hub)


async def be_level(hub: Hub) -> None:
    """Until this node knows all that was acknowledged before, also while the cluster elects a leader. Raises ApiError
    if it cannot."""
    reason = "no majority reachable"
    for _ in range(_ATTEMPTS):
        hub.require_staying()
        try:
            if await hub.session.caught_up():
                return
        except Busy as busy:
            reason = f"busy, try again: {busy}"
            break
        lost = hub.session.lost_quorum()
        if lost is not None:
            reason = lost
            break
    raise ApiError(503, f"{reason}: try another node", code="not_ready", retry=True)


def _record(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation_id(conversation.context), "object": "conversation", "created_at": conversation.at // 1000,
        "metadata": {"context": conversation.context} | ({"title": conversation.title} if conversation.title else {}),
        "turns": len(conversation.turns),
    }


def _title_in(metadata: dict[str, Any] | None) -> str | None:
    """Raises ApiError."""
    title = (metadata or {}).get("title")
    if title is not None and not isinstance(title, str):
        raise ApiError(400, "a title is a string", param="metadata.title")
    wrong = None if title is None else check_title(title)
    if wrong is not None:
        raise ApiError(400, wrong, param="metadata.title")
    return title


def items_of(conversation: Conversation) -> list[dict[str, Any]]:
    """Questions and the answers that were chosen, in order."""
    items = []
    for number, turn in enumerate(conversation.turns, 1):
        items.append(_item(conversation.context, number, "user", "input_text", turn.text))
        answer = turn.answer
        if answer is not None and answer.text is not None:
            items.append(_item(conversation.context, number, "assistant", "output_text", answer.text))
    return items


def _item(context: str, turn: int, role: str, kind: str, text: str) -> dict[str, Any]:
    content = {"type": kind, "text": text, **({"annotations": []} if kind == "output_text" else {})}
    return {
        "id": message_id(context, turn, role), "type": "message", "role": role, "status": "completed",
        "content": [content],
    }


def page(request: web.Request, records: Sequence[dict[str, Any]], *, descending: bool) -> dict[str, Any]:
    """A page of records, in OpenAI's shape: `limit`, `order` and `after` are the request's parameters. Raises
    ApiError."""
    limit, order = request.query.get("limit", str(_PAGE)), request.query.get("order", "desc" if descending else "asc")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= len(str(_MOST)) and 1 <= int(limit) <= _MOST):
        raise ApiError(400, f"limit is from 1 to {_MOST}", param="limit")
    if order not in ("asc", "desc"):
        raise ApiError(400, "order is asc or desc", param="order")
    ordered = list(records) if order == "asc" else list(reversed(records))
    after = request.query.get("after")
    if after is not None:
        places = [index for index, record in enumerate(ordered) if record["id"] == after]
        if not places:
            raise ApiError(400, "after is the id of a record in the list", param="after")
        ordered = ordered[places[0] + 1 :]
    shown = ordered[: int(limit)]
    return {
        "object": "list", "data": shown, "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None, "has_more": len(ordered) > len(shown),
    }
