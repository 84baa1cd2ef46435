"""What a chat becomes, and what is done for an answer."""

from __future__ import annotations

import pytest

from kvstore.conversation import Kind, Poll, Response, Turn
from web.errors import ApiError
from web.ids import context_of, conversation_id, response_id, turn_of
from web.messages import Message, Part, chat_of
from web.models import Model
from web.questions import _choice, key_of

LIVE = {1, 2, 3}


def chat(*messages: tuple[str, str]) -> tuple[list[tuple[str, str | None]], str]:
    made = chat_of([Message(role, text) for role, text in messages], 2, "messages")
    return [(turn.text, turn.candidates[0].text) for turn in made.history], made.question


def test_a_chat_is_turns_and_a_question() -> None:
    assert chat(("user", "a")) == ([], "a")
    assert chat(("system", "s"), ("assistant", "hello"), ("user", "a")) == ([], "s\n\nhello\n\na")
    assert chat(("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d"), ("user", "e")) == (
        [("a\n\nb", "c\n\nd")], "e")
    assert chat(("user", "a"), ("assistant", "b"), ("developer", "s"), ("user", "c")) == ([("a", "b")], "s\n\nc")
    assert chat(("user", "a"), ("assistant", " "), ("user", "b")) == ([], "a\n\nb"), "what said nothing is no answer"
    parts = Message("user", [Part("text", "a"), Part("input_text", "b")])
    assert chat_of([parts], 2, "input").question == "ab"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "last message"), ([Message("assistant", "a")], "last message"), ([Message("user", " ")], "last message"),
        ([Message("user", "a"), Message("assistant", "b")], "last message"), ([Message("tool", "a")], "'tool'"),
        ([Message("user", [Part("image_url")])], "'image_url'"), ([Message("user", "a", "file")], "only messages"),
        ([Message("user", None)], "last message"),
    ],
)
def test_what_cannot_be_answered_is_refused(messages: list[Message], words: str) -> None:
    with pytest.raises(ApiError, match=words) as caught:
        chat_of(messages, 2, "messages")
    assert caught.value.status == 400 and str(caught.value.body.error.param).startswith("messages")


def turn(texts: str, *, kind: Kind = Kind.QUERY, poll: Poll | None = None) -> Turn:
    """Node N has answered if the Nth letter is a, and failed if it is e."""
    said = {"a": ("yes", None), "e": (None, "no")}
    found = {node: Response(*said[letter], "m", 1.0) for node, letter in enumerate(texts, 1) if letter in said}
    return Turn(kind, "why?", found, poll=poll)


@pytest.mark.parametrize(
    ("state", "model", "expected"),
    [
        (turn("aa."), Model("consensus", "query"), None), (turn("aaa"), Model("consensus", "query"), "auto"),
        (turn("eae"), Model("consensus", "query"), 2), (turn("eee"), Model("consensus", "query"), "none"),
        (turn("aaa", poll=Poll(1, [1, 2, 3])), Model("consensus", "query"), None),
        (turn("eaa", poll=Poll(1, [2, 3], closed=True)), Model("consensus", "query"), 2),
        (turn("aa.."), Model("consensus", "query"), None), (turn("..a"), Model("node-3", "query", 3), 3),
        (turn("aa."), Model("node-3", "query", 3), None), (turn("aae"), Model("node-3", "query", 3), "none"),
        (turn("aaa"), Model("node-4", "query", 4), "none"), (turn("e..", kind=Kind.ASK), Model("ask", "ask"), None),
        (turn("eee", kind=Kind.ASK), Model("ask", "ask"), "none"),
    ],
)
def test_what_is_to_be_done_follows_from_the_turn(state: Turn, model: Model, expected: int | str | None) -> None:
    assert _choice(state, model, LIVE) == expected


def test_nodes_that_are_not_there_are_not_waited_for() -> None:
    assert _choice(turn("aa."), Model("consensus", "query"), {1, 2}) == "auto"
    assert _choice(turn("aa."), Model("node-3", "query", 3), {1, 2}) == "none"


@pytest.mark.parametrize("context", ["c1", "résumé", "conv_x", "a.b", "x" * 64])
def test_ids_lead_back(context: str) -> None:
    assert context_of(conversation_id(context)) == context and turn_of(response_id(context, 7)) == (context, 7)


def test_other_ids_are_told_apart() -> None:
    assert context_of("plain") == "plain" and context_of("conv_odd!") == "conv_odd!"
    for odd in ("resp_", "resp_Yw", "resp_Yw.x", "resp_.1", "Yw.1", "resp_Yx.1", "resp_Yw.99999999999"):
        with pytest.raises(ApiError):
            turn_of(odd)
    assert key_of("a") == key_of("a") != key_of("b") and key_of(None) != key_of(None)
    assert "secret" not in key_of("secret")
