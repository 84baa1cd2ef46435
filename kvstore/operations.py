"""The operations that nodes replicate, and which release understands which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias, cast, get_args

import msgspec

from kvstore.conversation import Cut
from kvstore.packed_turns import has_synthesis, in_plain, pack, unpack


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


class Said(_StoreOperation, frozen=True):
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


class Candidate(Said, frozen=True, tag=3):
    """One LLM's response to a query; the user chooses among them."""


class Choose(_StoreOperation, frozen=True, tag=4):
    """The candidate of `node` becomes the answer. `turn` guards against choosing in a turn that the user did not see;
    None means the turn that is open when this is decided."""

    node: int
    turn: int | None = None


class Ask(_StoreOperation, frozen=True, tag=5):
    """A new turn that only the leader answers."""

    text: str


class Answer(Said, frozen=True, tag=6):
    """The LLM's response to an `Ask`. A text is chosen at once; an error leaves the turn open for a later answer."""


class InFull(Said, frozen=True):
    """With all that is known of a response; see `kvstore.conversation.Response`."""

    thoughts: str = ""
    cut: Cut | None = None
    cut_at: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0


class CandidateInFull(InFull, frozen=True, tag=14):
    """A `Candidate` with what release 0.1.0 does not know."""


class AnswerInFull(InFull, frozen=True, tag=15):
    """An `Answer` with what release 0.1.0 does not know."""


class Cancel(_StoreOperation, frozen=True, tag=7):
    """Cancels the open turn. `turn` as in `Choose`."""

    turn: int | None = None


class Import(_StoreOperation, frozen=True, tag=13):
    """A new conversation with all its turns, as `pack` made them. No LLM is asked."""

    turns: bytes


class ImportInFull(Import, frozen=True, tag=24):
    """An `Import` of a conversation with a title or a system prompt, and of what release 0.1.0 does not know of its
    responses."""

    title: str = ""
    system: str = ""


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


class Undelete(_StoreOperation, frozen=True, tag=25):
    """The conversation of this context id that was deleted last is there again, if it is still kept."""


class SetTitle(_StoreOperation, frozen=True, tag=19):
    """What users call the conversation from here on; empty: as its context id."""

    title: str


class SetSystem(_StoreOperation, frozen=True, tag=23):
    """What LLMs are told before the questions of the conversation, in place of what nodes tell them by themselves;
    empty: nothing."""

    text: str


class SetAuto(_StoreOperation, frozen=True, tag=31):
    """Whether the nodes choose by themselves in this conversation, as soon as all answers to a query are in."""

    on: bool


class Rename(_StoreOperation, frozen=True, tag=21):
    """The conversation has another context id from here on. It must not be open: answers that are on their way name
    the one that it had."""

    name: str


class Fork(_StoreOperation, frozen=True, tag=22):
    """A new conversation that begins with the turns of `source`, up to this one; None: with all that are closed."""

    source: str
    turn: int | None = None


class Retry(_StoreOperation, frozen=True, tag=9):
    """All nodes, or only `node`, are asked the open question again; their earlier responses are dropped. `turn` as in
    `Choose`."""

    turn: int | None = None
    node: int | None = None


class Regenerate(_StoreOperation, frozen=True, tag=33):
    """The leader is asked the last question again, an `Ask` that has its answer. That stands until another one is in;
    if the LLM fails, or another question comes first, it stays. `turn` as in `Choose`."""

    turn: int | None = None


class Synthesize(_StoreOperation, frozen=True, tag=34):
    """The LLM of `node`, or else the leader's, is asked for one answer made out of those that are in: a further
    candidate, in place of an earlier one of this kind. `turn` as in `Choose`."""

    turn: int | None = None
    node: int | None = None


class Synthesized(InFull, frozen=True, tag=35):
    """What `node`'s LLM made out of the others' answers, or why it did not. `round` is the number of the synthesis
    within the turn, from 1."""


class StartPoll(_StoreOperation, frozen=True, tag=10):
    """Every node's LLM is asked to rank the current answers. `turn` as in `Choose`."""

    turn: int | None = None


class ChooseAuto(_StoreOperation, frozen=True, tag=32):
    """All answers are in, where the nodes choose by themselves: a poll begins, or the only answer is chosen. Once for
    each `round`, see `kvstore.conversation.Turn.rounds`."""

    turn: int
    round: int


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


class ElectWeighed(_StoreOperation, frozen=True, tag=30):
    """Ends a poll: chooses by the rankings received so far, and by how far the answers agree (kvstore/agreement.py)."""

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


Responding: TypeAlias = Candidate | Answer | CandidateInFull | AnswerInFull | Synthesized

AboutTurn: TypeAlias = (
    Responding | Choose | Cancel | Retry | StartPoll | Ranking | Elect | ElectWeighed | ChooseAuto | Regenerate
    | Synthesize
)
"""Kinds that speak of a turn that there is."""


class IfCreatedAt(_Dated, frozen=True, tag=20):
    """The `operation`, provided that the conversation is the one that was created at log position `created`: since a
    deletion, another one may have its name, and a turn of the same number."""

    created: int
    operation: AboutTurn

    @property
    def context(self) -> str:
        return self.operation.context


Unconditional: TypeAlias = (
    AboutTurn | Create | Query | Ask | Import | SetQuotas | AskOnce | Delete | SetTitle | Rename | Fork
    | SetSystem | ImportInFull | Undelete | SetAuto
)
StoreOperation: TypeAlias = Unconditional | IfCreatedAt

ASKING: Final[frozenset[type]] = frozenset((Query, Ask, Retry, AskOnce, Regenerate, Synthesize))
"""Kinds of operations that put a question to LLMs. What is done for each operation looks kinds up: that a struct is of
another kind takes isinstance 0.2 us to find out, and a look-up a tenth of that."""
CREATING: Final[frozenset[type]] = frozenset((Create, Import, ImportInFull, Fork))
"""Kinds that make a conversation."""
RESPONDING: Final[frozenset[type]] = frozenset((Candidate, Answer, CandidateInFull, AnswerInFull, Synthesized))
"""Kinds that bring what an LLM said."""
_NAMES: Final[dict[type, str]] = {
    **{kind: kind.__name__.lower() for kind in get_args(Unconditional)}, StartPoll: "poll",
    CandidateInFull: "candidate", AnswerInFull: "answer", SetQuotas: "quotas", AskOnce: "query",
    SetTitle: "title", SetSystem: "system", ImportInFull: "import", ElectWeighed: "elect",
    SetAuto: "auto", ChooseAuto: "poll", Synthesize: "synth", Synthesized: "synthesis",
}
"""But of `IfCreatedAt`, which has the name of what it is about."""

OPERATIONS_VERSION: Final = 2
"""Which operations this release understands: grows with every new kind, and with every change of what one means.
With 2 came decided configurations (see paxos/configuration.py), responses in full, quotas, questions with a key,
deletion and its undoing, titles, other names, forks, system prompts, conditions, elections that weigh how far answers
agree, conversations in which the nodes choose by themselves, other answers to an `ask`, and syntheses."""

RELEASES: Final = {1: "0.1.0", 2: "0.2.0"}
"""By operations version, the first release that has it."""

_NEEDED: Final[dict[type, int]] = {
    CandidateInFull: 2, AnswerInFull: 2, SetQuotas: 2, AskOnce: 2, Delete: 2, SetTitle: 2,
    Rename: 2, Fork: 2, SetSystem: 2, ImportInFull: 2, Undelete: 2, IfCreatedAt: 2, ElectWeighed: 2,
    SetAuto: 2, ChooseAuto: 2, Regenerate: 2, Synthesize: 2, Synthesized: 2,
}
"""By kind of operation, the operations version that it came with, if that is not the first."""


def name(operation: StoreOperation) -> str:
    """As users know it: create, query, ..."""
    operation = unconditional(operation)
    return operation.kind if isinstance(operation, AskOnce) else _NAMES[type(operation)]


def unconditional(operation: StoreOperation) -> Unconditional:
    """What is done if its condition holds, dated as the whole is."""
    if type(operation) is not IfCreatedAt:  # nearly all: a struct that is of another kind takes isinstance longer
        return cast("Unconditional", operation)
    return msgspec.structs.replace(operation.operation, at=operation.at)


def plainer(operation: StoreOperation) -> StoreOperation | None:
    """The same as an earlier release knows it: without the condition, without thoughts, tokens and without saying that
    an answer was cut, by the rankings alone, or as a poll. None if there is no such operation."""
    if isinstance(operation, IfCreatedAt):
        return unconditional(operation)
    if isinstance(operation, ElectWeighed):
        return Elect(operation.context, operation.turn, operation.poll, at=operation.at)
    if isinstance(operation, ChooseAuto):
        return StartPoll(operation.context, operation.turn, at=operation.at)
    if isinstance(operation, ImportInFull):
        turns = unpack(operation.turns, in_full=True)
        if operation.title or operation.system or has_synthesis(turns):
            return None
        return Import(operation.context, pack(in_plain(turns)), at=operation.at)
    if not isinstance(operation, CandidateInFull | AnswerInFull):
        return None
    make = Candidate if isinstance(operation, CandidateInFull) else Answer
    return make(**{field: getattr(operation, field) for field in make.__struct_fields__})


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
