"""A chat as clients send it, as the turns of a conversation and an open question."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kvstore.packed_turns import Restored, RestoredTurn
from web.errors import ApiError

TEXT_PARTS = ("text", "input_text", "output_text")
_GAP = "\n\n"


class Part(msgspec.Struct):
    """A piece of a message's content."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    role: str = "user"
    content: str | list[Part] | None = None
    type: str = "message"


class Chat(msgspec.Struct, frozen=True):
    """`history`, and the `question` that it leads to."""

    history: list[RestoredTurn]
    question: str


def chat_of(messages: Sequence[Message], node: int, param: str) -> Chat:
    """`node` is the one that brings in the answers of the history. What comes before the first question belongs to it,
    system prompts above all: a conversation has no other place for them. Raises ApiError."""
    history: list[RestoredTurn] = []
    asked: list[str] = []
    answered: list[str] = []

    def close_turn() -> None:
        if answered:
            said = [Restored(node, _GAP.join(answered), None, "given by the client")]
            history.append(RestoredTurn("query", _GAP.join(asked), said, node))
            asked.clear()
            answered.clear()

    started = False
    for index, message in enumerate(messages):
        text = _text(message, f"{param}[{index}]")
        if message.role == "assistant" and started:
            if text.strip():
                answered.append(text)
            continue
        if message.role not in ("user", "system", "developer", "assistant"):
            raise ApiError(400, f"the role '{message.role[:40]}' is not understood", param=f"{param}[{index}]")
        close_turn()
        started = started or message.role == "user"
        if text.strip():
            asked.append(text)
    if answered or not started or not asked:
        raise ApiError(400, "the last message must be the user's, and not blank", param=param)
    return Chat(history, _GAP.join(asked))


def _text(message: Message, where: str) -> str:
    if message.type != "message":
        raise ApiError(400, f"only messages are understood, not '{message.type[:40]}'", param=where)
    if message.content is None:
        return ""
    if isinstance(message.content, str):
        return message.content
    odd = next((part.type for part in message.content if part.type not in TEXT_PARTS), None)
    if odd is not None:
        raise ApiError(400, f"content of the type '{odd[:40]}' is not understood: only text is", param=where)
    return "".join(part.text or "" for part in message.content)


def tokens(text: str) -> int:
    """About how many tokens this is: LLMs count differently, and nodes may have different ones."""
    return max(1, len(text.encode()) // 4) if text else 0
