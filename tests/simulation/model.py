"""The sequential specification of one conversation.

Written independently of kvstore, so that a bug there is not repeated here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from tests.simulation.history import Args, Op, Result

Reason: TypeAlias = Literal["exists", "unknown", "open", "nothing", "no turn", "kind", "closed", "no answer", "failed",
                            "duplicate"]  # fmt: skip
"""Why a call is refused: the conversation exists already; is unknown; has an open question; has nothing to choose from
(or to cancel); has no turn of that number; the turn is a query and not an ask, or the other way round; it is chosen or
cancelled already; that node gave no answer; its answer is a failure; it has answered already."""


class Turn(NamedTuple):
    """`candidates` are pairs of a node and its answer (None: its LLM failed)."""

    kind: str
    text: str | None
    candidates: frozenset[tuple[int | None, str | None]] = frozenset()
    chosen: int | None = None
    cancelled: bool = False

    @property
    def is_open(self) -> bool:
        return self.chosen is None and not self.cancelled


State: TypeAlias = tuple[Turn, ...] | None
"""The turns; None as long as the conversation does not exist. Only the last turn can be open."""


class Outcome(NamedTuple):
    """What a call is answered. `turn` is the turn that was added or changed."""

    ok: bool
    reason: Reason | None = None
    turn: int | None = None


def apply(state: State, op: Op, args: Args) -> tuple[State, Outcome]:
    """The state after the call, and its answer. A refused call changes nothing; nor does a view."""
    if op == "create":
        return ((), Outcome(True)) if state is None else (state, Outcome(False, "exists"))
    if state is None:
        return state, Outcome(False, "unknown")
    if op == "view":
        return state, Outcome(True)
    if op in ("query", "ask"):
        if state and state[-1].is_open:
            return state, Outcome(False, "open")
        return (*state, Turn(op, args.text)), Outcome(True, None, len(state) + 1)
    number = args.turn or len(state)
    if number > len(state):
        return state, Outcome(False, "no turn")
    if number == 0:
        return state, Outcome(False, "nothing")
    changed = _change(state[number - 1], op, args)
    if isinstance(changed, str):
        return state, Outcome(False, changed)
    return (*state[: number - 1], changed, *state[number:]), Outcome(True, None, number)


def _change(turn: Turn, op: Op, args: Args) -> Turn | Reason:
    """The turn after a candidate, answer, choose or cancel, or why it is refused."""
    answers = dict(turn.candidates)
    if op in ("candidate", "answer") and turn.kind != ("query" if op == "candidate" else "ask"):
        return "kind"
    if not turn.is_open:
        return "closed"
    if op == "cancel":
        return turn._replace(cancelled=True)
    if op == "choose":
        if not answers:
            return "nothing"
        if args.node not in answers:
            return "no answer"
        return "failed" if answers[args.node] is None else turn._replace(chosen=args.node)
    if op == "candidate" and args.node in answers:
        return "duplicate"
    answers[args.node] = args.text
    chosen = args.node if op == "answer" and args.text is not None else None
    return turn._replace(candidates=frozenset(answers.items()), chosen=chosen)


def agrees(result: Result, state: State, outcome: Outcome) -> bool:
    """Whether the recorded answer is the one that the model gives in this state, as far as it was recorded."""
    return (
        result.ok == outcome.ok
        and result.reason in (None, outcome.reason)
        and result.turn in (None, outcome.turn)
        and (result.turns is None or seen(result) == state)
    )


def seen(result: Result) -> State:
    """The state that a view's result shows."""
    if result.turns is None:
        return None
    return tuple(
        Turn(turn.kind, turn.query, frozenset(turn.candidates.items()), turn.chosen, turn.cancelled)
        for turn in result.turns
    )


def may_become(turn: Turn, later: Turn) -> bool:
    """Whether a turn could still look like `later`: a closed one never changes, an open one only gains."""
    if turn == later:
        return True
    if not turn.is_open or turn.kind != later.kind or turn.text != later.text:
        return False
    if turn.candidates <= later.candidates:
        return True
    answers = dict(later.candidates)  # an ask that failed may be answered by the same node after all
    return turn.kind == "ask" and all(
        node in answers and text in (None, answers[node]) for node, text in turn.candidates
    )


def growth(state: State) -> tuple[int, ...]:
    """A key that sorts the states of a growing conversation."""
    if state is None:
        return ()
    if not state:
        return (0,)
    last = state[-1]
    return (len(state), not last.is_open, len(last.candidates), sum(text is not None for _, text in last.candidates))


def grows(one: State, two: State) -> bool:
    """Whether the first state could become the second."""
    if one is None or two is None:
        return one is None
    return len(one) <= len(two) and all(map(may_become, one, two))
