"""The operations that nodes replicate, their limits, and their bytes.

An operation's bytes end up as the payload of a decided operation and are read by every node, so what is valid must not
depend on anything that differs between nodes: the rules below use fixed tables, not the interpreter's Unicode
data, which changes between Python versions.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from kvstore.conversation import Cut
from kvstore.quotas import MAX_QUOTA

MAX_CONTEXT_CHARS: Final = 64
MAX_TEXT_BYTES: Final = 131_072
MAX_MODEL_BYTES: Final = 1024
MAX_THOUGHTS_BYTES: Final = 65_536
MAX_NODE: Final = 65_535
MAX_PACKED_BYTES: Final = 240 * 1024
"""Compressed size of the turns in an import, which is a single operation."""
MAX_UNPACKED_BYTES: Final = 4 * 1024 * 1024
MAX_TURN: Final = 2**32 - 1
MAX_KEY_CHARS: Final = 64
MAX_TITLE_BYTES: Final = 512
MAX_AT: Final = 2**48


class _Dated(
    msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True, forbid_unknown_fields=True
):
    """The last field of every operation: when it was proposed, in milliseconds since 1970 by its proposer's clock; 0 if
    unknown. Nothing depends on it: it is for people.

    There are no other fields than those that are known. What stands behind them could be nested deeper than some node
    can look, and then nodes would differ."""

    at: int = 0


class _StoreOperation(_Dated, frozen=True, array_like=True, gc=False):
    """Base of all operations; `context` is the id of the conversation that it is about."""

    context: str


class Create(_StoreOperation, frozen=True, tag=1):
    """A new, empty conversation."""


class Query(_StoreOperation, frozen=True, tag=2):
    """A new turn that every node's LLM answers with a candidate."""

    text: str


class _Said(_StoreOperation, frozen=True):
    """The response of `node`'s LLM to turn `turn` (from 1): its text, or an error that says why there is none.

    `seconds` is how long the LLM took. `round` is how often this node had been asked again at its start: responses of
    an earlier round come too late. The LLM saw the last `seen` of `before` answered turns; both are 0 if it saw all.
    """

    turn: int
    node: int
    text: str | None
    error: str | None
    model: str = ""
    seconds: float = 0.0
    round: int = 0
    seen: int = 0
    before: int = 0


class Candidate(_Said, frozen=True, tag=3):
    """One LLM's response to a query; the user chooses among them."""


class Choose(_StoreOperation, frozen=True, tag=4):
    """The candidate of `node` becomes the answer. `turn` guards against choosing in a turn that the user did not see;
    None means the turn that is open when this is decided."""

    node: int
    turn: int | None = None


class Ask(_StoreOperation, frozen=True, tag=5):
    """A new turn that only the leader answers."""

    text: str


class Answer(_Said, frozen=True, tag=6):
    """The LLM's response to an `Ask`. A text is chosen at once; an error leaves the turn open for a later answer."""


class _InFull(_Said, frozen=True):
    """With all that is known of a response; see `kvstore.conversation.Response`."""

    thoughts: str = ""
    cut: Cut | None = None
    cut_at: float = 0.0


class CandidateInFull(_InFull, frozen=True, tag=14):
    """A `Candidate` with thoughts, or one that was cut."""


class AnswerInFull(_InFull, frozen=True, tag=15):
    """An `Answer` with thoughts, or one that was cut."""


class Cancel(_StoreOperation, frozen=True, tag=7):
    """Cancels the open turn. `turn` as in `Choose`."""

    turn: int | None = None


class Restored(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One response of a restored turn. Fields as in `_Said`."""

    node: int
    text: str | None
    error: str | None
    model: str = ""
    seconds: float = 0.0


class RestoredTurn(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A closed turn of an import; cancelled if no response is chosen."""

    kind: Literal["query", "ask"]
    text: str
    candidates: list[Restored]
    chosen: int | None


class Import(_StoreOperation, frozen=True, tag=13):
    """A new conversation with all its turns, as `pack` made them. No LLM is asked."""

    turns: bytes


class AskOnce(_StoreOperation, frozen=True, tag=17):
    """A new turn of this `kind`, but only if the conversation has none of the same `key` yet: whoever repeats it, at
    whatever node, gets the turn that there is. If there is no such conversation, it begins with `history`, packed turns
    as in `Import` (empty: none), as one that does not last if it is `temporary`; without `history` it must exist."""

    text: str
    key: str
    kind: Literal["query", "ask"] = "query"
    history: bytes | None = None
    temporary: bool = False


class Delete(_StoreOperation, frozen=True, tag=18):
    """The conversation is there no more. `created` is the log position that created the one that is meant; None: the
    one that there is."""

    created: int | None = None


class SetTitle(_StoreOperation, frozen=True, tag=19):
    """What users call the conversation from here on; empty: as its context id."""

    title: str


class Retry(_StoreOperation, frozen=True, tag=9):
    """All nodes, or only `node`, are asked the open question again; their earlier responses are dropped. `turn` as in
    `Choose`."""

    turn: int | None = None
    node: int | None = None


class StartPoll(_StoreOperation, frozen=True, tag=10):
    """Every node's LLM is asked to rank the current answers. `turn` as in `Choose`."""

    turn: int | None = None


class Ranking(_StoreOperation, frozen=True, tag=11):
    """How the LLM of `node` ranks the answers: their nodes, best first; or an error that says why it abstains. `poll`
    is the number of the poll within the turn, from 1."""

    turn: int
    node: int
    poll: int
    order: list[int]
    error: str | None
    model: str = ""


class Elect(_StoreOperation, frozen=True, tag=12):
    """Ends a poll: chooses the best answer by the rankings received so far."""

    turn: int
    poll: int


class SetQuotas(_Dated, frozen=True, tag=16):
    """The quotas from here on, those that are named; about no conversation. With `first`, all of them, unless there
    are quotas already."""

    conversations: int | None = None
    turns: int | None = None
    bytes: int | None = None
    total: int | None = None
    first: bool = False

    @property
    def context(self) -> None:
        return None


StoreOperation: TypeAlias = (
    Create | Query | Candidate | Choose | Ask | Answer | Cancel | Retry | StartPoll | Ranking | Elect | Import
    | CandidateInFull | AnswerInFull | SetQuotas | AskOnce | Delete | SetTitle
)

Responding: TypeAlias = Candidate | Answer | CandidateInFull | AnswerInFull

ASKING: Final[frozenset[type]] = frozenset((Query, Ask, Retry, AskOnce))
"""Kinds of operations that put a question to LLMs. What is done for each operation looks kinds up: that a struct is of
another kind takes isinstance 0.2 us to find out, and a look-up a tenth of that."""
CREATING: Final[frozenset[type]] = frozenset((Create, Import))
"""Kinds that make a conversation."""
RESPONDING: Final[frozenset[type]] = frozenset((Candidate, Answer, CandidateInFull, AnswerInFull))
"""Kinds that bring what an LLM said."""
_NAMES: Final[dict[type, str]] = {
    **{kind: kind.__name__.lower() for kind in get_args(StoreOperation)}, StartPoll: "poll",
    CandidateInFull: "candidate", AnswerInFull: "answer", SetQuotas: "quotas", AskOnce: "query",
    SetTitle: "title",
}

OPERATIONS_VERSION: Final = 2
"""Which operations this release understands: grows with every new kind, and with every change of what one means.
With 2 came decided configurations (see paxos/configuration.py), responses in full, quotas, questions with a key,
deletion, and titles."""

RELEASES: Final = {1: "0.1.0", 2: "0.2.0"}
"""By operations version, the first release that has it."""

_NEEDED: Final[dict[type, int]] = {
    CandidateInFull: 2, AnswerInFull: 2, SetQuotas: 2, AskOnce: 2, Delete: 2, SetTitle: 2,
}
"""By kind of operation, the operations version that it came with, if that is not the first."""


class UnknownOperation(Exception):
    """A decided operation of a kind that this release does not know. Others carry it out, so to go on without it would
    be to diverge from them."""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[StoreOperation] = msgspec.msgpack.Decoder(StoreOperation)
_TAGS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(StoreOperation))
_HEADS: Final = frozenset(bytes((array, tag)) for array in range(0x91, 0xA0) for tag in _TAGS)
"""How nearly all payloads begin."""
_turns_decoder = msgspec.msgpack.Decoder(list[RestoredTurn])


def encode(operation: StoreOperation) -> bytes:
    """The payload to replicate. Raises ValueError, with a sentence for users, for an operation that `check` refuses."""
    error = check(operation)
    if error is not None:
        raise ValueError(error)
    return _encoder.encode(operation)


def name(operation: StoreOperation) -> str:
    """As users know it: create, query, ..."""
    return operation.kind if isinstance(operation, AskOnce) else _NAMES[type(operation)]


def not_understood(operation: StoreOperation, versions: Callable[[], Mapping[int, int]]) -> str | None:
    """Why the operation must not be proposed yet, as a sentence for users: some node would not know it.
    `versions` gives each member's operations version."""
    needed = _NEEDED.get(type(operation))
    if needed is None:
        return None
    node, lowest = min(versions().items(), key=lambda item: (item[1], item[0]))
    if lowest >= needed:
        return None
    runs = RELEASES[max((version for version in RELEASES if version <= lowest), default=1)]
    return f"`{name(operation)}` needs all nodes to run release {RELEASES[needed]}; node {node} runs {runs}"


def decode(payload: bytes) -> StoreOperation:
    """The operation of a payload. Raises ValueError if there is none in it, UnknownOperation if it is of a kind that is
    not in `StoreOperation`. Limits are not checked here."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        tag = _tag(payload)
        if tag is not None and tag not in _TAGS:
            raise UnknownOperation(f"operation {tag} is of a later release") from error
        raise ValueError("not a command") from error


def is_known(payload: bytes) -> bool:
    """False for an operation of a kind that is not in `StoreOperation`: `decode` raises UnknownOperation."""
    return payload[:2] in _HEADS or (tag := _tag(payload)) is None or tag in _TAGS


def _tag(payload: bytes) -> int | None:
    """The kind of operation that a payload begins like: the first element of a MessagePack array, if that is a positive
    integer. Read by hand, so that all that follows, and how deep an interpreter can look into it, plays no part."""
    head = payload[0] if payload else 0
    start = 1 if 0x91 <= head <= 0x9F else {0xDC: 3, 0xDD: 5}.get(head)
    if start is None or len(payload) <= start:
        return None
    first = payload[start]
    if first <= 0x7F:
        return first or None
    size = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(first, 0)
    digits = payload[start + 1 : start + 1 + size]
    return int.from_bytes(digits, "big") or None if size and len(digits) == size else None


def pack(turns: Sequence[RestoredTurn]) -> bytes:
    """The turns of an `Import`. Limits are not checked here."""
    return zlib.compress(_encoder.encode(turns))


def unpack(packed: bytes) -> list[RestoredTurn]:
    """The packed turns. Raises ValueError, with a sentence for users, if there are none or too many."""
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(packed, MAX_UNPACKED_BYTES)
        if inflating.unconsumed_tail:
            raise ValueError(f"all turns together exceed {MAX_UNPACKED_BYTES} bytes")
        if not inflating.eof or inflating.unused_data:
            raise ValueError("these are not the turns of a conversation")
        return _turns_decoder.decode(plain)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        raise ValueError("these are not the turns of a conversation") from error


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


def _check_packed(packed: bytes) -> str | None:
    """Why these cannot be the turns of a conversation."""
    if len(packed) > MAX_PACKED_BYTES:
        size = len(packed)
        return f"the conversation is too large: {size} bytes when compressed, at most {MAX_PACKED_BYTES} are allowed"
    try:
        turns = unpack(packed)
    except ValueError as error:
        return str(error)
    checked = ((number, check_turn(turn)) for number, turn in enumerate(turns, 1))
    return next((f"turn {number}: {error}" for number, error in checked if error is not None), None)


def check_turn(turn: RestoredTurn) -> str | None:
    """Why this cannot be a turn of an import; None if it can."""
    error = check_text(turn.text)
    for response in turn.candidates:
        error = error or _check_response(response)
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


def _check_response(operation: _Said | Restored) -> str | None:
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
    error = _check_node(operation.node)
    if error is not None:
        return error
    if operation.text is not None:
        return check_text(operation.text)
    assert operation.error is not None
    return check_text(operation.error, "error")


def _check_counts(operation: _Said) -> str | None:
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
    return error or next(filter(None, map(_check_node, (operation.node, *operation.order))), None)


def _check_poll(poll: int) -> str | None:
    return None if 1 <= poll <= MAX_TURN else f"there is no poll {poll}"


def _check_node(node: int) -> str | None:
    return None if 1 <= node <= MAX_NODE else f"there is no node {node}"


def _check_turn(turn: int | None) -> str | None:
    return None if turn is None or 1 <= turn <= MAX_TURN else f"there is no turn {turn}"


def _check_choose(operation: Choose) -> str | None:
    return _check_node(operation.node) or _check_turn(operation.turn)


def _check_retry(operation: Retry) -> str | None:
    return (None if operation.node is None else _check_node(operation.node)) or _check_turn(operation.turn)


def _check_in_full(operation: _InFull) -> str | None:
    try:
        fits = len(operation.thoughts.encode()) <= MAX_THOUGHTS_BYTES
    except UnicodeEncodeError:
        return "the thoughts are not valid Unicode"
    if not fits:
        return f"the thoughts are longer than {MAX_THOUGHTS_BYTES} bytes"
    if not (math.isfinite(operation.cut_at) and operation.cut_at >= 0):
        return "an answer cannot be cut at a negative limit"
    return _check_said(operation)


def _check_said(operation: _Said) -> str | None:
    return _check_turn(operation.turn) or _check_response(operation) or _check_counts(operation)


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
    Retry: _check_retry,
    Ranking: lambda operation: _check_turn(operation.turn) or _check_poll(operation.poll) or _check_ranking(operation),
    Elect: lambda operation: _check_turn(operation.turn) or _check_poll(operation.poll),
    Import: lambda operation: _check_packed(operation.turns),
    SetQuotas: _check_quotas,
    AskOnce: _check_ask_once,
    SetTitle: lambda operation: check_title(operation.title),
    Delete: lambda operation: (
        None if operation.created is None or operation.created >= 1 else f"there is no position {operation.created}"
    ),
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
