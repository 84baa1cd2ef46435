"""Responses in OpenAI's shape, and the events that lead to a complete one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from kvstore.conversation import Response, State, Turn
from web.ids import conversation_id, message_id, response_id
from web.messages import tokens
from web.questions import Question


def response_record(question: Question, turn: Turn, *, is_cut: bool = False) -> dict[str, Any]:
    """`is_cut`: the answer is, whatever it says itself."""
    answer = turn.answer
    is_cut = answer is not None and (is_cut or answer.cut is not None)
    message = None if answer is None else _message(question, answer.text or "", is_cut=is_cut)
    return {
        "id": response_id(question.context, question.turn), "object": "response", "created_at": question.at // 1000,
        "status": "incomplete" if is_cut else _status(turn), "model": question.model.name,
        "output": [] if message is None else [message],
        "candidates": [_candidate(node, said) for node, said in turn.candidates.items()], "chosen": turn.chosen,
        "conversation": {"id": conversation_id(question.context)}, "metadata": {"context": question.context},
        "error": _error(turn), "usage": _usage(turn),
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": None, "parallel_tool_calls": False, "temperature": None, "tool_choice": "none", "tools": [],
        "top_p": None, "background": False, "previous_response_id": None,
    }


Event: TypeAlias = tuple[str, dict[str, Any]]
"""What a stream says: type and fields."""


def begin_events(question: Question) -> Iterator[Event]:
    """Before the first text."""
    message = {**_message(question, ""), "status": "in_progress"}
    yield "response.output_item.added", {"output_index": 0, "item": {**message, "content": []}}
    yield "response.content_part.added", {**_place(message), "part": message["content"][0]}


def delta_event(question: Question, text: str) -> Event:
    return "response.output_text.delta", {**_place(_message(question, "")), "delta": text, "logprobs": []}


def end_events(record: dict[str, Any]) -> Iterator[Event]:
    """When all text was sent: the response is complete now."""
    message = record["output"][0]
    at, part = _place(message), message["content"][0]
    yield "response.output_text.done", {**at, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", {**at, "part": part}
    yield "response.output_item.done", {"output_index": 0, "item": message}
    yield "response.incomplete" if record["status"] == "incomplete" else "response.completed", {"response": record}


def _place(message: dict[str, Any]) -> dict[str, Any]:
    return {"item_id": message["id"], "output_index": 0, "content_index": 0}


def _status(turn: Turn) -> str:
    if turn.state is State.OPEN:
        return "in_progress"
    if turn.answer is not None:
        return "completed"
    return "cancelled" if turn.choices or not turn.candidates else "failed"


def _message(question: Question, text: str, *, is_cut: bool = False) -> dict[str, Any]:
    return {
        "id": message_id(question.context, question.turn, "assistant"), "type": "message", "role": "assistant",
        "status": "incomplete" if is_cut else "completed",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
    }


def _candidate(node: int, said: Response) -> dict[str, Any]:
    result = {"text": said.text} if said.text is not None else {"error": said.error}
    made = {"by": said.by, "out_of": [*said.out_of]} if said.by else {}
    return {"node": node, **result, "model": said.model, "seconds": round(said.seconds, 3), **made}


def _error(turn: Turn) -> dict[str, str] | None:
    if _status(turn) != "failed":
        return None
    reasons = "; ".join(f"node {node}: {said.error}" for node, said in turn.candidates.items())
    return {"code": "server_error", "message": f"no node has an answer: {reasons}"}


def _usage(turn: Turn) -> dict[str, Any] | None:
    """As the LLM counted, or estimated."""
    answer = turn.answer
    if answer is None:
        return None
    put, said = answer.tokens_in or tokens(turn.text), answer.tokens_out or tokens(answer.text or "")
    return {
        "input_tokens": put, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": put + said,
    }
