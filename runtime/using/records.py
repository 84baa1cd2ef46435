"""Conversations and operations as records ready for JSON: what events, results and exports are made of."""

from __future__ import annotations

from typing import Any

from kvstore.commands import Answer, Candidate
from kvstore.conversation import Conversation, Response, Turn
from runtime.journal import Decided


def conversation_record(conversation: Conversation) -> dict[str, Any]:
    return {"context": conversation.context, "turns": [turn_record(turn) for turn in conversation.turns]}


def turn_record(turn: Turn) -> dict[str, Any]:
    return {
        "query": turn.text,
        "kind": turn.kind.value,
        "candidates": {str(node): response_record(response) for node, response in turn.candidates.items()},
        "chosen": turn.chosen,
        "cancelled": turn.cancelled,
    }


def response_record(response: Response | Candidate | Answer) -> dict[str, Any]:
    said = {"text": response.text} if response.error is None else {"error": response.error}
    return {**said, "model": response.model, "seconds": round(response.seconds, 3)}


def decided_record(decided: Decided) -> dict[str, Any]:
    """`ballot` is null if the operation was learned; `origin`, `incarnation` and `number` name the operation; `at` is
    in seconds since 1970."""
    origin, incarnation, number = decided.operation
    return {
        "position": decided.position,
        "ballot": None if decided.leadership is None else [*decided.leadership, decided.position],
        "origin": origin, "incarnation": incarnation, "number": number, "at": decided.at,
        "command": decided.command, "context": decided.context, "turn": decided.turn, "node": decided.node,
        "text": decided.text, "error": decided.error,
    }
