"""The sequential specification of one conversation.

Written independently of kvstore, so that a bug there is not repeated here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from tests.simulation.history import Args, Op, Result

Reason: TypeAlias = Literal["exists", "unknown", "open", "nothing", "no turn", "kind", "closed", "no answer", "failed",
                            "duplicate", "again", "not failed", "full", "awaited", "too few", "over",
                            "not asked"]  # fmt: skip
"""Why a call is refused: the conversation exists already; is unknown; has an open question; has nothing to choose from
(or to cancel, or to ask again); has no turn of that number; the turn is a query and not an ask, or the other way round;
it is chosen or cancelled already; that node gave no answer; its answer is a failure; it has answered already; it has
been asked again since its LLM began; it has not failed, and so is not asked again alone; it has all the turns that the
quotas let it have, which the model does not know; a synthesis is awaited already; there are too few answers for one; it
is not the one that is awaited; another node was asked for it."""

SYNTHESIS = 0
"""The number of the candidate that is made out of the others."""


class Turn(NamedTuple):
    """`candidates` are pairs of a node and its answer (None: its LLM failed). `retries` are pairs of a node (None: all)
    and how often it has been asked again: no view shows them, and where it does not matter any more they are forgotten.
    `regenerating`: another answer is asked for, in the last turn only.

    `asked`: how many syntheses were asked for; `awaited`: of the one that is awaited, whose it is to be (None:
    anybody's who leads) and out of which nodes' answers; `made_of`: of the one that there is, out of which. No view
    shows these, either."""

    kind: str
    text: str | None
    candidates: frozenset[tuple[int | None, str | None]] = frozenset()
    chosen: int | None = None
    cancelled: bool = False
    retries: frozenset[tuple[int | None, int]] = frozenset()
    regenerating: bool = False
    asked: int = 0
    awaited: tuple[int | None, frozenset[int | None]] | None = None
    made_of: frozenset[int | None] = frozenset()

    @property
    def is_open(self) -> bool:
        return self.chosen is None and not self.cancelled

    def as_shown(self) -> Turn:
        """As a view shows it, which tells only that something is awaited."""
        return self.settled()._replace(regenerating=self.regenerating or self.awaited is not None)

    def settled(self) -> Turn:
        """When nothing more is to come of it."""
        return Turn(self.kind, self.text, self.candidates, self.chosen, self.cancelled)

    def round(self, node: int | None) -> int:
        """How often this node has been asked again."""
        return sum(times for whom, times in self.retries if whom in (None, node))


Turns: TypeAlias = tuple[Turn, ...]
State: TypeAlias = tuple[Turn, ...] | None
"""The turns; None as long as the conversation does not exist. Only the last turn can be open."""


class Outcome(NamedTuple):
    """What a call is answered. `turn` is the turn that was added or changed."""

    ok: bool
    reason: Reason | None = None
    turn: int | None = None


def apply(state: State, op: Op, args: Args) -> tuple[State, Outcome]:
    """The state after the call, and its answer, where nobody asks for another answer to what is closed. A refused call
    changes nothing; nor does a view."""
    after, outcome = _applied(state, op, args)
    closed = after and not (after[-1].is_open or after[-1].regenerating)
    return as_shown(after) if closed else after, outcome


def _applied(state: State, op: Op, args: Args) -> tuple[State, Outcome]:
    if op == "create":
        return ((), Outcome(True)) if state is None else (state, Outcome(False, "exists"))
    if op == "once":
        return _asked_once(state or (), args.text)
    if state is None:
        return state, Outcome(False, "unknown")
    if op == "delete":
        return None, Outcome(True)
    if op == "view":
        return state, Outcome(True)
    if op in ("query", "ask"):
        if state and state[-1].is_open:
            return state, Outcome(False, "open")
        return (*_settled(state), Turn(op, args.text)), Outcome(True, None, len(state) + 1)
    number = args.turn or len(state)
    if number > len(state):
        return state, Outcome(False, "no turn")
    if number == 0:
        return state, Outcome(False, "nothing")
    if op == "regenerate" and number < len(state):
        return state, Outcome(False, "closed")
    changed = _change(state[number - 1], op, args)
    if isinstance(changed, str):
        return state, Outcome(False, changed)
    return (*state[: number - 1], changed, *state[number:]), Outcome(True, None, number)


def _settled(turns: Turns) -> Turns:
    """The last one is overtaken."""
    return (*turns[:-1], turns[-1].settled()) if turns else turns


def _left_as_they_are(turns: Turns) -> Turns:
    """Another answer to the last one would come too late."""
    return (*turns[:-1], turns[-1]._replace(regenerating=False)) if turns else turns


class Life(NamedTuple):
    """A conversation as it is. `system` is its system prompt; `auto`: the nodes choose by themselves."""

    turns: Turns = ()
    system: str = ""
    auto: bool = False


class Family(NamedTuple):
    """Conversations that get their turns from each other: those that there are, by their context ids, and those that
    were deleted."""

    lives: frozenset[tuple[str, Life]] = frozenset()
    deleted: tuple[tuple[str, Life], ...] = ()

    def of(self, context: str | None) -> Life | None:
        return dict(self.lives).get(context or "")

    def having(self, context: str | None, life: Life | None) -> Family:
        """None: it is there no more."""
        lives = dict(self.lives)
        lives.pop(context or "", None)
        if life is not None:
            lives[context or ""] = life
        return self._replace(lives=frozenset(lives.items()))


def apply_to_family(family: Family, op: Op, args: Args) -> tuple[Family, Outcome]:
    """As `apply`, where the call may be about more than the turns of one conversation."""
    life = family.of(args.context)
    if op == "undelete":
        return _brought_back(family, args)
    if op == "delete" and life is not None:
        deleted = (*family.deleted, (args.context or "", life))
        return family.having(args.context, None)._replace(deleted=deleted), Outcome(True)
    if op in ("rename", "fork", "system", "auto"):
        return (family, Outcome(False, "unknown")) if life is None else _as_a_whole(family, life, op, args)
    after, outcome = _applied(None if life is None else life.turns, op, args)
    if after is None:
        return family.having(args.context, None), outcome
    return family.having(args.context, (life or Life())._replace(turns=after)), outcome


def _brought_back(family: Family, args: Args) -> tuple[Family, Outcome]:
    """The one that was deleted last. That it is kept for a while only is nothing that a short history meets."""
    mine = [index for index, (context, _) in enumerate(family.deleted) if context == args.context]
    if not mine:
        return family, Outcome(False, "unknown")
    if family.of(args.context) is not None:
        return family, Outcome(False, "exists")
    left = tuple(kept for index, kept in enumerate(family.deleted) if index != mine[-1])
    return family.having(args.context, family.deleted[mine[-1]][1])._replace(deleted=left), Outcome(True)


def _as_a_whole(family: Family, life: Life, op: Op, args: Args) -> tuple[Family, Outcome]:
    turns = life.turns
    if op == "system":
        return family.having(args.context, life._replace(system=args.text or "")), Outcome(True)
    if op == "auto":
        return family.having(args.context, life._replace(auto=args.text == "on")), Outcome(True)
    if args.turn is not None and args.turn > len(turns):
        return family, Outcome(False, "no turn")
    closed = len(turns) - bool(turns and turns[-1].is_open)
    if (args.turn or 0) > closed or (op == "rename" and closed < len(turns)):
        return family, Outcome(False, "open")
    if family.of(args.name) is not None:
        return family, Outcome(False, "exists")
    if op == "rename":
        renamed = life._replace(turns=_left_as_they_are(turns))
        return family.having(args.context, None).having(args.name, renamed), Outcome(True)
    turns = _left_as_they_are(turns)
    forked = life._replace(turns=turns[: args.turn or closed])
    return family.having(args.name, forked), Outcome(True, None, len(forked.turns) or None)


def _asked_once(turns: tuple[Turn, ...], text: str | None) -> tuple[State, Outcome]:
    """A question with a key, which stands for its text here: one of another text has another key. It makes the
    conversation, if there is none."""
    number = next((number for number, turn in enumerate(turns, 1) if turn.text == text), None)
    if number is not None:
        return turns, Outcome(True, None, number)
    if turns and turns[-1].is_open:
        return turns, Outcome(False, "open")
    return (*_settled(turns), Turn("query", text)), Outcome(True, None, len(turns) + 1)


def _change(turn: Turn, op: Op, args: Args) -> Turn | Reason:
    """The turn after a candidate, answer, choose, retry or cancel, or why it is refused."""
    answers = dict(turn.candidates)
    if op in ("candidate", "answer") and turn.kind != ("query" if op == "candidate" else "ask"):
        return "kind"
    if op == "regenerate":
        return _asked_for_another(turn)
    if op == "answer" and turn.regenerating:
        return _answered_again(turn, args)
    if not turn.is_open:
        return "closed"
    if op == "cancel":
        return turn._replace(cancelled=True).settled()
    if op == "synth":
        return _synthesis_asked_for(turn, args.node)
    if op == "synthesis":
        return _synthesis_given(turn, args)
    if op == "retry":
        return _asked_again(turn, args.node)
    if op == "choose":
        if not answers:
            return "nothing"
        if args.node not in answers:
            return "no answer"
        if answers[args.node] is None:
            return "failed"
        return turn._replace(chosen=args.node).settled()
    if args.round not in (None, turn.round(args.node)):
        return "again"
    if op == "candidate" and args.node in answers:
        return "duplicate"
    answers[args.node] = args.text
    answered = turn._replace(candidates=frozenset(answers.items()))
    if op == "candidate" or args.text is None:
        return answered
    return answered._replace(chosen=args.node)


def _asked_again(turn: Turn, node: int | None) -> Turn | Reason:
    if turn.kind == "ask" and node is not None and node not in dict(turn.candidates):
        return "not failed"
    kept = {whom: text for whom, text in turn.candidates if node is not None and whom != node}
    retries = dict(turn.retries)
    retries[node] = retries.get(node, 0) + 1
    if turn.awaited is not None and not turn.awaited[1] <= kept.keys():
        turn = turn._replace(awaited=None)
    if not turn.made_of <= kept.keys():
        kept.pop(SYNTHESIS, None)
        turn = turn._replace(made_of=frozenset())
    return turn._replace(candidates=frozenset(kept.items()), retries=frozenset(retries.items()))


def _synthesis_asked_for(turn: Turn, node: int | None) -> Turn | Reason:
    if turn.kind == "ask":
        return "kind"
    if turn.awaited is not None:
        return "awaited"
    answered = frozenset(whom for whom, text in turn.candidates if text is not None and whom != SYNTHESIS)
    if len(answered) < 2:
        return "too few"
    return turn._replace(asked=turn.asked + 1, awaited=(node, answered))


def _synthesis_given(turn: Turn, args: Args) -> Turn | Reason:
    if turn.awaited is None or args.round not in (None, turn.asked):
        return "over"
    whose, out_of = turn.awaited
    if whose not in (None, args.node):
        return "not asked"
    turn = turn._replace(awaited=None)
    if args.text is None:
        return turn
    candidates = {**dict(turn.candidates), SYNTHESIS: args.text}
    return turn._replace(candidates=frozenset(candidates.items()), made_of=out_of)


def _asked_for_another(turn: Turn) -> Turn | Reason:
    if turn.kind == "query":
        return "kind"
    if turn.chosen is None:
        return "open" if turn.is_open else "closed"
    retries = dict(turn.retries)
    retries[None] = retries.get(None, 0) + 1
    return turn._replace(regenerating=True, retries=frozenset(retries.items()))


def _answered_again(turn: Turn, args: Args) -> Turn | Reason:
    if args.round not in (None, turn.round(args.node)):
        return "again"
    if args.text is None:
        return turn._replace(regenerating=False)
    return turn._replace(candidates=frozenset({(args.node, args.text)}), chosen=args.node, regenerating=False)


def agrees(result: Result, state: State, outcome: Outcome) -> bool:
    """Whether the recorded answer is the one that the model gives in this state, as far as it was recorded. A question
    to a full conversation would have added the turn that the answer names."""
    if result.reason == "full":
        return outcome.ok and result.turn in (None, outcome.turn)
    return (
        result.ok == outcome.ok
        and result.reason in (None, outcome.reason)
        and result.turn in (None, outcome.turn)
        and (result.turns is None or seen(result) == as_shown(state))
    )


def agrees_in_family(result: Result, family: Family, args: Args, outcome: Outcome) -> bool:
    """As `agrees`; a view shows the system prompt, too, and who chooses."""
    life = family.of(args.context)
    if result.system is not None and result.system != (life or Life()).system:
        return False
    if result.auto is not None and result.auto != (life or Life()).auto:
        return False
    return agrees(result, None if life is None else life.turns, outcome)


def seen(result: Result) -> State:
    """The state that a view's result shows."""
    if result.turns is None:
        return None
    return tuple(
        Turn(turn.kind, turn.query, frozenset(turn.candidates.items()), turn.chosen, turn.cancelled,
             regenerating=turn.awaits)
        for turn in result.turns
    )


def as_shown(state: State) -> State:
    """What a view shows of this state."""
    return (*state[:-1], state[-1].as_shown()) if state else state
