"""Histories: users' calls to the cluster, their times, and their results.

A history is a list of calls in any order. A call without an answer is *open*: it may have taken effect at any time
since it was invoked, may still do so, or never will. The recorder of a history defines what a *process* is: one user's
session with one incarnation of a node. Its calls may overlap (commands typed ahead); when the node restarts, or the
user goes elsewhere, a new process begins.

A call that was refused without reading the state (a blank text, an impossible context id) says nothing about
linearizability and does not belong in a history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

Op: TypeAlias = Literal[
    "create", "query", "ask", "choose", "retry", "cancel", "view", "viewall", "once", "delete",
    "rename", "fork", "system", "auto", "undelete", "regenerate", "synth",
    "candidate", "answer", "synthesis",  # done by nodes, not by users
]  # fmt: skip

_NEEDED: dict[Op, tuple[str, ...]] = {
    "create": ("context",),
    "query": ("context", "text"),
    "ask": ("context", "text"),
    "choose": ("context", "node"),
    "retry": ("context",),
    "cancel": ("context",),
    "view": ("context",),
    "viewall": (),
    "once": ("context", "text"),
    "delete": ("context",),
    "rename": ("context", "name"),
    "fork": ("context", "name"),
    "system": ("context",),
    "auto": ("context", "text"),
    "regenerate": ("context",),
    "synth": ("context",),
    "undelete": ("context",),
    "candidate": ("context", "node"),
    "answer": ("context", "node"),
    "synthesis": ("context", "node"),
}

ALWAYS = -1e18
"""The invocation time of a call that may take effect arbitrarily early. (JSON has no infinity.)"""

_NEVER_SHOWN = "(never shown)"


class Args(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a call is about. `text` is the question, or an LLM's answer (None: it failed); any short name of the text
    serves as well, as long as views use the same one. `turn` counts from 1; None means the last one. A retry without
    `node` is about all of them, a synth without one is the leader's. `round` is how often the LLM's node had been asked
    again when it began, and of a synthesis, which one of the turn it is; None if nobody knows. `name` is the other
    conversation: what this one is called from then on, or what begins with its turns. Of `auto`, the text is "on" or
    "off"."""

    context: str | None = None
    text: str | None = None
    node: int | None = None
    turn: int | None = None
    round: int | None = None
    name: str | None = None


class SeenTurn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A turn as a view shows it. `candidates` holds the answer by node number, None for one that failed. `awaits`:
    another answer, or one out of the others, is awaited."""

    query: str
    candidates: dict[int, str | None] = {}
    chosen: int | None = None
    cancelled: bool = False
    kind: Literal["query", "ask"] = "query"
    awaits: bool = False


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was answered. All but `ok` are compared only where they are given.

    reason: why it was refused, in the words of model.Reason.
    turn: the turn that was added or changed.
    turns: what a view saw; needed for a view that is ok.
    conversations: what a viewall saw, in the order shown; needed for a viewall that is ok.
    system: the system prompt that a view saw.
    auto: whether a view saw that the nodes choose by themselves.
    stale: a view that was marked as possibly stale. It may show any earlier state, but not one that never was.
    """

    ok: bool
    reason: str | None = None
    turn: int | None = None
    turns: tuple[SeenTurn, ...] | None = None
    conversations: dict[str, tuple[SeenTurn, ...]] | None = None
    system: str | None = None
    auto: bool | None = None
    stale: bool = False


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One operation as its user saw it. Times are seconds on one clock (virtual or real) for the whole history.

    Two calls are ordered only if one returned strictly before the other was invoked; equal times count as overlapping.
    """

    process: str
    op: Op
    args: Args
    invoked_at: float
    returned_at: float | None = None
    result: Result | None = None

    @property
    def is_open(self) -> bool:
        return self.result is None

    @property
    def reads(self) -> bool:
        return self.op in ("view", "viewall")

    def __str__(self) -> str:
        return self.describe()

    def describe(self, skip: int = 0) -> str:
        """One readable line, which leaves out the first `skip` turns of a view."""
        begin = "any time" if self.invoked_at == ALWAYS else f"{self.invoked_at:.6g}"
        end = "never answered" if self.returned_at is None else f"{self.returned_at:.6g}"
        return f"{begin:>10} .. {end:<14} {self.process:<8} {_command(self.op, self.args)}{_answer(self.result, skip)}"


class Pending:
    """A call that a `Recorder` has seen begin."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def returned(self, now: float, result: Result) -> None:
        """Records the answer. A call without an answer stays open."""
        self.call = msgspec.structs.replace(self.call, returned_at=now, result=result)


class Recorder:
    """Collects a history. Calls may begin and return in any thread or task; the recorder has no clock of its own."""

    def __init__(self) -> None:
        self._pending: list[Pending] = []

    def invoke(self, process: str, op: Op, args: Args, now: float) -> Pending:
        pending = Pending(Call(process, op, args, now))
        self._pending.append(pending)
        return pending

    def history(self) -> list[Call]:
        return [pending.call for pending in self._pending]


def validate(call: Call) -> None:
    """Raises ValueError for a call that is not well-formed."""
    missing = [name for name in _NEEDED[call.op] if getattr(call.args, name) is None]
    if missing:
        raise ValueError(f"{call.op} without {' and '.join(missing)}: {call}")
    if call.args.turn is not None and call.args.turn < 1:
        raise ValueError(f"turns count from 1: {call}")
    if (call.returned_at is None) != (call.result is None):
        raise ValueError(f"a time of return without a result, or the other way round: {call}")
    if call.returned_at is not None and not call.invoked_at <= call.returned_at:
        raise ValueError(f"returned before it was invoked: {call}")
    if call.result is not None:
        shown = {"view": call.result.turns, "viewall": call.result.conversations}
        if any((op == call.op and call.result.ok) != (what is not None) for op, what in shown.items()):
            raise ValueError(f"a view that does not say what it saw, or something else that does: {call}")


def dump(history: Iterable[Call], path: Path) -> None:
    """Writes one call a line, as JSON, in order of invocation."""
    lines = [msgspec.json.encode(call) + b"\n" for call in sorted(history, key=lambda call: call.invoked_at)]
    path.write_bytes(b"".join(lines))


def load(path: Path) -> list[Call]:
    """Reads what `dump` wrote. Raises ValueError, with the number of the line, for anything else."""
    history: list[Call] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            call = msgspec.json.decode(line, type=Call)
            validate(call)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        history.append(call)
    return history


def split(history: Sequence[Call]) -> dict[str, list[Call]]:
    """The history of each conversation, by context id.

    Linearizability is a local property: a history is linearizable if that of each conversation is. A viewall becomes
    one view of every conversation that the history knows; that these were taken at the same time is lost, so an order
    *between* conversations that no single log could produce may go unnoticed.
    """
    contexts: dict[str, list[Call]] = {}
    for call in history:
        if call.args.context is not None:
            contexts.setdefault(call.args.context, [])
        for context in (call.result and call.result.conversations) or ():
            contexts.setdefault(context, [])
    for call in history:
        if call.op != "viewall":
            assert call.args.context is not None
            contexts[call.args.context].append(call)
        elif call.result is not None and call.result.ok:
            for context, calls in contexts.items():
                calls.append(_view_of(call, context))
    return contexts


def families(history: Sequence[Call]) -> list[tuple[str, list[Call]]]:
    """The history of each conversation, and a name for it: of those that get their turns from each other, together."""
    conversations = split(history)
    family = {context: {context} for context in conversations}
    for call in history:
        one, other = call.args.context, call.args.name
        if one is not None and other is not None:
            joined = family[one] | family.setdefault(other, {other})
            family.update(dict.fromkeys(joined, joined))
    found = {tuple(sorted(members)) for members in family.values()}
    return [
        ("+".join(members), [call for context in members for call in conversations.get(context, ())])
        for members in sorted(found)
    ]


def infer_candidates(history: Sequence[Call], repeating: bool = True) -> list[Call]:
    """The history with open candidate (and answer) calls that nodes may have done, as far as they explain anything.

    For recorders that cannot see what nodes do among themselves. The calls may take effect at any time, so what is lost
    is the proof that nobody saw an answer before, or without, an LLM having given it. Node 0 is whichever it was. A
    node that was asked again may have answered again, but not more often than it was asked; with the same text only if
    its LLM is `repeating`. One that never does proves that an answer that was seen before a retry is gone after it.
    """
    found: list[Call] = []
    for context, calls in split(history).items():
        retries = [call for call in calls if call.op == "retry" and (call.result is None or call.result.ok)]
        known: set[tuple[Op, Args]] = set()
        for call in calls:
            for op, node, text, turn in _hints(call):
                args = Args(context, text, node, turn)
                if turn is None:  # each may be about another one
                    found.append(Call(f"node {node}", op, args, ALWAYS))
                elif (op, args) not in known:
                    known.add((op, args))
                    once = text is not None and (op == "answer" or (text != _NEVER_SHOWN and not repeating))
                    times = 1 + (0 if once else sum(_asks_again(retry, node, turn) for retry in retries))
                    found += [Call(f"node {node}", op, args, ALWAYS)] * times
    return [*history, *found]


def changed_turn(call: Call) -> int | None:
    """The turn that the call adds or changes if it takes effect, where that is known."""
    return (call.result and call.result.turn) or call.args.turn


def _asks_again(retry: Call, node: int | None, turn: int) -> bool:
    return changed_turn(retry) in (None, turn) and retry.args.node in (None, node)


def until(calls: Sequence[Call], now: float) -> list[Call]:
    """What was known of these calls at this time."""
    cut: list[Call] = []
    for call in calls:
        if call.returned_at is None or call.returned_at <= now:
            cut.extend([call] if call.invoked_at <= now else [])
        elif call.invoked_at <= now:
            cut.extend(unanswered(call))
    return cut


def unanswered(call: Call) -> list[Call]:
    """The call if it had not been answered; nothing if it could then have had no effect."""
    return [] if call.reads else [msgspec.structs.replace(call, returned_at=None, result=None)]


def is_free(call: Call) -> bool:
    """Whether the call may take effect whenever it likes, or never, whatever else its process did."""
    return call.is_open and call.invoked_at == ALWAYS


def with_freed(calls: Sequence[Call], freed: set[int]) -> list[Call]:
    """The history with some calls freed: they may take effect at any time, or never."""
    result: list[Call] = []
    for i, call in enumerate(calls):
        if i not in freed:
            result.append(call)
        elif not call.reads and (call.result is None or call.result.ok):
            result.append(Call(call.process, call.op, call.args, ALWAYS))
    return result


def _hints(call: Call) -> Iterator[tuple[Op, int | None, str | None, int | None]]:
    """What nodes must have done if this answer is right, or may have done because of this call."""
    result, node, turn = call.result, call.args.node, changed_turn(call)
    may_be_done = result is None or result.ok
    if call.op in ("query", "retry") and may_be_done:
        yield "candidate", 0, _NEVER_SHOWN, turn
    if call.op in ("ask", "retry") and may_be_done:
        yield "answer", 0, _NEVER_SHOWN, turn
        yield "answer", 0, None, turn
    if call.op == "retry" and may_be_done and node is not None:
        yield "answer", node, None, turn  # or it would not be asked again, if it was an ask
    if call.op == "choose":
        yield "candidate", node, _NEVER_SHOWN, turn
        if result is not None and result.reason == "failed":
            yield "candidate", node, None, turn
            yield "answer", node, None, turn
    for number, shown in enumerate((result and result.turns) or (), 1):
        for responder, text in shown.candidates.items():
            yield "candidate" if shown.kind == "query" else "answer", responder, text, number
            if shown.kind == "ask":
                yield "answer", responder, None, number  # before the answer that took its place


def _view_of(viewall: Call, context: str) -> Call:
    result = viewall.result
    assert result is not None and result.conversations is not None
    turns = result.conversations.get(context)
    seen = Result(turns is not None, turns=turns, stale=result.stale)
    return Call(viewall.process, "view", Args(context), viewall.invoked_at, viewall.returned_at, seen)


def _command(op: Op, args: Args) -> str:
    words = [op, args.context, args.name, args.node and f"node {args.node}", args.turn and f"turn {args.turn}",
             args.round and f"round {args.round}"]
    if op in ("query", "ask", "candidate", "answer", "synthesis", "once", "system", "auto"):
        words.append("failed" if args.text is None else repr(args.text))
    return " ".join(word for word in words if word)


def _answer(result: Result | None, skip: int) -> str:
    if result is None:
        return ""
    said = "ok" if result.ok else "refused" + (f": {result.reason}" if result.reason else "")
    said += f", turn {result.turn}" if result.turn is not None else ""
    said += " (possibly stale)" if result.stale else ""
    shown = {"": result.turns} if result.turns is not None else dict(result.conversations or {})
    for context, turns in shown.items():
        parts = [f"{number}: {_turn(turn)}" for number, turn in enumerate(turns, 1)][skip:]
        parts += [f"told {result.system!r}"] if result.system is not None else []
        parts += [f"auto {result.auto}"] if result.auto is not None else []
        parts[:0] = [f"1-{skip}: the same in all"] if skip else []
        said += "; " + f"{context} [{' | '.join(parts)}]".strip()
    return f" -> {said}"


def _turn(turn: SeenTurn) -> str:
    candidates = ", ".join(f"{node}: {'failed' if text is None else repr(text)}"
                           for node, text in sorted(turn.candidates.items()))
    state = f" chosen {turn.chosen}" if turn.chosen is not None else " cancelled" if turn.cancelled else ""
    state += " awaiting another" if turn.awaits else ""
    return f"{'ask ' if turn.kind == 'ask' else ''}{turn.query!r} {{{candidates}}}{state}"
