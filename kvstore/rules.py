"""What makes an operation well-formed, whatever the state is.

Every node checks every decided operation, so what is valid must not depend on anything that differs between nodes: the
rules below use fixed tables, not the interpreter's Unicode data, which changes between Python versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from kvstore.conversation import SYNTHESIS, Response
from kvstore.operations import (
    Answer,
    AnswerInFull,
    Ask,
    AskOnce,
    Cancel,
    Candidate,
    CandidateInFull,
    Choose,
    ChooseAuto,
    Delete,
    Elect,
    ElectWeighed,
    Fork,
    IfCreatedAt,
    Import,
    ImportInFull,
    InFull,
    Query,
    Ranking,
    Regenerate,
    Rename,
    Retry,
    Said,
    SetQuotas,
    SetSystem,
    SetTitle,
    StartPoll,
    StoreOperation,
    Synthesize,
    Synthesized,
)
from kvstore.packed_turns import MAX_PARTS, Restored, RestoredInFull, RestoredTurn, unpack
from kvstore.quotas import MAX_QUOTA

MAX_CONTEXT_CHARS: Final = 64
MAX_TEXT_BYTES: Final = 131_072
MAX_MODEL_BYTES: Final = 1024
MAX_THOUGHTS_BYTES: Final = 65_536
MAX_NODE: Final = 65_535
MAX_PACKED_BYTES: Final = 240 * 1024
"""Compressed size of the turns in an import, which is a single operation."""
MAX_TURN: Final = 2**32 - 1
MAX_KEY_CHARS: Final = 64
MAX_TITLE_BYTES: Final = 512
MAX_SYSTEM_BYTES: Final = 8192
MAX_AT: Final = 2**48
MAX_POSITION: Final = 2**53
MAX_TOKENS: Final = 2**40
FEWEST_SOURCES: Final = 2
"""Answers that a synthesis is made out of."""


def check(operation: StoreOperation) -> str | None:
    """Why the operation would be refused whatever the state is, as a sentence for users; None if it is well-formed."""
    error = None if operation.context is None else check_context(operation.context)
    if error is not None:
        return error
    if not 0 <= operation.at <= MAX_AT:
        return "the time is out of range"
    rule = _RULES.get(type(operation))
    return None if rule is None else rule(operation)


def check_context(context: str) -> str | None:
    """Why this cannot be a context id; None if it can."""
    if not context:
        return "a context id must not be empty"
    if len(context) > MAX_CONTEXT_CHARS:
        return f"a context id has at most {MAX_CONTEXT_CHARS} characters, not {len(context)}"
    if context.isascii() and context.isprintable() and " " not in context:
        return None  # fast path for nearly every id; ASCII is the same in every version of Python
    if any(low <= character <= high for character in context for low, high in _NOT_IN_CONTEXT):
        return "a context id must consist of printable characters without spaces"
    return None


def check_text(text: str, what: str = "text") -> str | None:
    """Why this cannot be the text of a turn or an answer; None if it can."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return f"the {what} is not valid Unicode"
    if size > MAX_TEXT_BYTES:
        return f"the {what} is too long: {size} bytes, at most {MAX_TEXT_BYTES} are allowed"
    if not text.strip(_BLANK):
        return f"the {what} is blank"
    return None


def _check_ask_once(operation: AskOnce) -> str | None:
    if not 1 <= len(operation.key) <= MAX_KEY_CHARS or not (operation.key.isascii() and operation.key.isprintable()):
        return f"a key has 1 to {MAX_KEY_CHARS} printable ASCII characters"
    return check_text(operation.text) or (_check_packed(operation.history) if operation.history else None)


def check_title(title: str) -> str | None:
    """Why this cannot be the title of a conversation; None if it can."""
    if not title:
        return None
    wrong = check_text(title, "title")
    if wrong is not None:
        return wrong
    if len(title.encode()) > MAX_TITLE_BYTES:
        return f"the title is too long: at most {MAX_TITLE_BYTES} bytes are allowed"
    return "a title is one line" if any(character < " " for character in title) else None


def check_system(text: str) -> str | None:
    """Why this cannot be the system prompt of a conversation; None if it can."""
    if not text:
        return None
    wrong = check_text(text, "system prompt")
    if wrong is None and len(text.encode()) > MAX_SYSTEM_BYTES:
        return f"the system prompt is too long: at most {MAX_SYSTEM_BYTES} bytes are allowed"
    return wrong


def _check_packed(packed: bytes, *, in_full: bool = False, most_parts: float = MAX_PARTS) -> str | None:
    """Why these cannot be the turns of a conversation."""
    if len(packed) > MAX_PACKED_BYTES:
        size = len(packed)
        return f"the conversation is too large: {size} bytes when compressed, at most {MAX_PACKED_BYTES} are allowed"
    try:
        turns = unpack(packed, in_full)
    except ValueError as error:
        return str(error)
    parts = sum(turn.parts for turn in turns)
    if parts > most_parts:
        return f"the conversation is too long: {parts} turns and responses, at most {MAX_PARTS} are allowed"
    checked = ((number, check_turn(turn)) for number, turn in enumerate(turns, 1))
    return next((f"turn {number}: {error}" for number, error in checked if error is not None), None)


def check_turn(turn: RestoredTurn) -> str | None:
    """Why this cannot be a turn of an import; None if it can."""
    error = check_text(turn.text)
    for response in turn.candidates:
        error = error or _check_response(response)
        if isinstance(response, RestoredInFull):
            error = error or _check_more(response)
        error = error or _check_origin(turn, response)
    if error is not None:
        return error
    having: dict[int, bool] = {}
    for response in turn.candidates:
        if response.node in having:
            return f"node {response.node} has two answers"
        having[response.node] = response.text is not None
    if turn.chosen is not None and not having.get(turn.chosen):
        return f"node {turn.chosen} is chosen, but has no answer"
    return None


def _check_origin(turn: RestoredTurn, response: Restored) -> str | None:
    """Why nobody can have given this response of an import."""
    made = isinstance(response, RestoredInFull) and (response.by or response.out_of)
    if response.node != SYNTHESIS:
        return "only a synthesis is made out of other answers" if made else _check_node(response.node)
    if not isinstance(response, RestoredInFull) or turn.kind != "query" or not is_synthesis(response):
        return "a synthesis is one node's answer to a query, made out of those of at least two nodes"
    return None


def is_synthesis(response: Response | RestoredInFull) -> bool:
    """It could have been made so."""
    out_of = response.out_of
    return (
        response.text is not None and _check_node(response.by) is None and len(out_of) >= FEWEST_SOURCES
        and all(_check_node(node) is None for node in out_of) and [*out_of] == sorted({*out_of})
    )


def _check_response(operation: Said | Restored) -> str | None:
    if (operation.text is None) == (operation.error is None):
        return "an LLM's response must be either text or an error"
    if not (math.isfinite(operation.seconds) and operation.seconds >= 0):
        return "an LLM's time must be 0 or more seconds"
    try:
        fits = len(operation.model.encode()) <= MAX_MODEL_BYTES
    except UnicodeEncodeError:
        return "the model's name is not valid Unicode"
    if not fits:
        return f"the model's name is longer than {MAX_MODEL_BYTES} bytes"
    if operation.text is not None:
        return check_text(operation.text)
    assert operation.error is not None
    return check_text(operation.error, "error")


def _check_counts(operation: Said) -> str | None:
    if not 0 <= operation.round <= MAX_TURN:
        return f"there is no round {operation.round}"
    if not 0 <= operation.seen <= operation.before <= MAX_TURN:
        return f"an LLM cannot have seen {operation.seen} of {operation.before} turns"
    return None


def _check_ranking(operation: Ranking) -> str | None:
    try:
        fits = len(operation.model.encode()) <= MAX_MODEL_BYTES
    except UnicodeEncodeError:
        return "the model's name is not valid Unicode"
    if not fits:
        return f"the model's name is longer than {MAX_MODEL_BYTES} bytes"
    if bool(operation.order) == (operation.error is not None):
        return "a node must either rank or say why it abstains"
    if len(set(operation.order)) < len(operation.order):
        return "a ranking must name every node once"
    error = _check_node(operation.node) if operation.error is None else check_text(operation.error, "error")
    return error or next(filter(None, map(_check_candidate, operation.order)), _check_node(operation.node))


def _check_poll(poll: int) -> str | None:
    return None if 1 <= poll <= MAX_TURN else f"there is no poll {poll}"


def _check_node(node: int) -> str | None:
    return None if 1 <= node <= MAX_NODE else f"there is no node {node}"


def _check_candidate(number: int) -> str | None:
    """Of a node's, or of a synthesis."""
    return None if number == SYNTHESIS else _check_node(number)


def _check_turn(turn: int | None) -> str | None:
    return None if turn is None or 1 <= turn <= MAX_TURN else f"there is no turn {turn}"


def _check_position(position: int) -> str | None:
    return None if 1 <= position <= MAX_POSITION else f"there is no position {position}"


def _check_choose(operation: Choose) -> str | None:
    return _check_candidate(operation.node) or _check_turn(operation.turn)


def _check_choose_auto(operation: ChooseAuto) -> str | None:
    in_range = 1 <= operation.round <= MAX_TURN
    return _check_turn(operation.turn) or (None if in_range else f"there is no round {operation.round}")


def _check_asking(operation: Retry | Synthesize) -> str | None:
    return (None if operation.node is None else _check_node(operation.node)) or _check_turn(operation.turn)


def _check_in_full(operation: InFull) -> str | None:
    try:
        fits = len(operation.thoughts.encode()) <= MAX_THOUGHTS_BYTES
    except UnicodeEncodeError:
        return "the thoughts are not valid Unicode"
    if not fits:
        return f"the thoughts are longer than {MAX_THOUGHTS_BYTES} bytes"
    return _check_more(operation) or _check_said(operation)


def _check_more(operation: InFull | RestoredInFull) -> str | None:
    if not (math.isfinite(operation.cut_at) and operation.cut_at >= 0):
        return "an answer cannot be cut at a negative limit"
    if not (0 <= operation.tokens_in <= MAX_TOKENS and 0 <= operation.tokens_out <= MAX_TOKENS):
        return "no LLM counts so many tokens"
    return None


def _check_said(operation: Said) -> str | None:
    return (
        _check_turn(operation.turn) or _check_node(operation.node) or _check_response(operation)
        or _check_counts(operation)
    )


def _check_quotas(operation: SetQuotas) -> str | None:
    wanted = (operation.conversations, operation.turns, operation.bytes, operation.total)
    given = [quota for quota in wanted if quota is not None]
    if not given or (operation.first and len(given) < len(wanted)):
        return "no quota is named"
    return None if all(1 <= quota <= MAX_QUOTA for quota in given) else f"a quota is between 1 and {MAX_QUOTA}"


_RULES: Final[dict[type, Callable[[Any], str | None]]] = {
    Query: lambda operation: check_text(operation.text),
    Ask: lambda operation: check_text(operation.text),
    Candidate: _check_said,
    Answer: _check_said,
    CandidateInFull: _check_in_full,
    AnswerInFull: _check_in_full,
    Choose: _check_choose,
    Cancel: lambda operation: _check_turn(operation.turn),
    StartPoll: lambda operation: _check_turn(operation.turn),
    Retry: _check_asking,
    Synthesize: _check_asking,
    Synthesized: _check_in_full,
    Ranking: lambda operation: _check_turn(operation.turn) or _check_poll(operation.poll) or _check_ranking(operation),
    Elect: lambda operation: _check_turn(operation.turn) or _check_poll(operation.poll),
    ElectWeighed: lambda operation: _check_turn(operation.turn) or _check_poll(operation.poll),
    ChooseAuto: _check_choose_auto,
    Regenerate: lambda operation: _check_turn(operation.turn),
    Import: lambda operation: _check_packed(operation.turns, most_parts=math.inf),  # release 0.1.0 has no such bound
    ImportInFull: lambda operation: (
        _check_packed(operation.turns, in_full=True) or check_title(operation.title) or check_system(operation.system)
    ),
    SetQuotas: _check_quotas,
    AskOnce: _check_ask_once,
    SetTitle: lambda operation: check_title(operation.title),
    SetSystem: lambda operation: check_system(operation.text),
    Delete: lambda operation: None if operation.created is None else _check_position(operation.created),
    Rename: lambda operation: check_context(operation.name),
    Fork: lambda operation: check_context(operation.source) or _check_turn(operation.turn),
    IfCreatedAt: lambda operation: _check_position(operation.created) or check(operation.operation),
}
"""For each kind of operation, what else must be so; looked up rather than matched, as every node does it for each."""

_NOT_IN_CONTEXT: Final = (
    ("\x00", "\x20"),  # controls, space
    ("\x7f", "\xa0"),  # controls, no-break space
    ("\xad", "\xad"),  # soft hyphen
    ("\u061c", "\u061c"),  # direction mark
    ("\u115f", "\u1160"),  # invisible Hangul fillers
    ("\u1680", "\u1680"),
    ("\u180e", "\u180e"),
    ("\u2000", "\u200f"),  # spaces, zero width characters, direction marks
    ("\u2028", "\u202f"),  # line separators, direction controls
    ("\u205f", "\u206f"),
    ("\u2800", "\u2800"),  # blank Braille pattern
    ("\u3000", "\u3000"),
    ("\u3164", "\u3164"),
    ("\ud800", "\uf8ff"),  # surrogates, private use
    ("\ufeff", "\ufeff"),
    ("\uffa0", "\uffa0"),
    ("\ufff0", "\uffff"),
    ("\U000e0000", "\U0010ffff"),  # tags, private use
)

_BLANK: Final = "".join(
    chr(code) for low, high in _NOT_IN_CONTEXT if high < "\ud800" for code in range(ord(low), ord(high) + 1)
) + "\ufeff"
"""A text of only these characters is blank."""
