"""Ids in OpenAI's shape that every node understands: they name a conversation, and a turn of it."""

from __future__ import annotations

import base64
import binascii

from kvstore.rules import check_context
from web.errors import ApiError

_CONVERSATION, _RESPONSE, _MESSAGE = "conv_", "resp_", "msg_"


def conversation_id(context: str) -> str:
    return _CONVERSATION + _packed(context)


def response_id(context: str, turn: int) -> str:
    return f"{_RESPONSE}{_packed(context)}.{turn}"


def message_id(context: str, turn: int, role: str) -> str:
    return f"{_MESSAGE}{_packed(context)}.{turn}.{role}"


def context_of(given: str, param: str = "conversation") -> str:
    """The context id that a conversation's id names; it may itself be given instead. Raises ApiError."""
    context = _unpacked(given.removeprefix(_CONVERSATION)) if given.startswith(_CONVERSATION) else None
    context = given if context is None else context
    mistake = check_context(context)
    if mistake is not None:
        raise ApiError(400, mistake, param=param)
    return context


def turn_of(given: str, param: str = "response_id") -> tuple[str, int]:
    """The context id and the turn that a response's id names. Raises ApiError."""
    packed, _, turn = given.removeprefix(_RESPONSE).rpartition(".")
    context = _unpacked(packed)
    if given.startswith(_RESPONSE) and context is not None and turn.isascii() and turn.isdigit() and len(turn) < 10:
        return context, int(turn)
    raise ApiError(404, "there is no such response", param=param, code="response_not_found")


def _packed(context: str) -> str:
    return base64.urlsafe_b64encode(context.encode()).decode().rstrip("=")


def _unpacked(packed: str) -> str | None:
    """None if it is none of ours."""
    try:
        context = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    return context if context and _packed(context) == packed else None
