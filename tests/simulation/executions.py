"""Histories of which it is known how they came about: executions of the model, and what they are when tampered with."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from tests.simulation.history import ALWAYS, Args, Call, Op, Result, SeenTurn
from tests.simulation.model import Outcome, State, apply


def shown(state: State) -> tuple[SeenTurn, ...] | None:
    """A state of the model as a view would show it."""
    if state is None:
        return None
    return tuple(
        msgspec.convert({"query": turn.text, "candidates": dict(turn.candidates), "chosen": turn.chosen,
                         "cancelled": turn.cancelled, "awaits": turn.regenerating, "kind": turn.kind}, SeenTurn)
        for turn in state
    )  # fmt: skip


class Mix(msgspec.Struct, frozen=True):
    """What executions are like.

    overlap: how many steps before its effect a call begins, and after it returns, at most.
    open_share: of calls that are never answered; as many are never done at all.
    told: share of answers with a turn number, and of refusals with a reason.
    retries: share of retries among what is done to an open turn.
    rounds: share of responses of which it is known how often their node had been asked again.
    """

    contexts: int = 1
    nodes: int = 3
    texts: int = 2**30
    overlap: int = 3
    open_share: float = 0.2
    told: float = 0.5
    stale_share: float = 0.1
    views: float = 0.25
    users: int = 5
    retries: float = 0.0
    rounds: float = 1.0


def random_operation(rng: random.Random, state: State, mix: Mix) -> tuple[Op, Args]:
    """Something that a user or a node may want to do, more often than not what is possible now."""
    turns = len(state or ())
    if state is None and rng.random() < 0.6:
        return "create", Args("c")
    if rng.random() < mix.views:
        return "view", Args("c")
    turn = rng.choice([None, turns or None, turns + 1 if rng.random() < 0.2 else turns or None])
    node, text = rng.randint(1, mix.nodes), f"t{rng.randrange(mix.texts)}"
    is_open = bool(state) and state is not None and state[-1].is_open
    likely: list[Op] = ["candidate", "candidate", "choose", "cancel"] if is_open else ["query", "query", "ask"]
    if is_open and state is not None and state[-1].kind == "ask":
        likely = ["answer", "answer", "cancel"]
    everything: list[Op] = ["create", "query", "ask", "candidate", "answer", "choose", "cancel"]
    op = rng.choice(likely if rng.random() < 0.8 else everything)
    if mix.retries and rng.random() < (mix.retries if is_open else mix.retries / 10):
        return "retry", Args("c", None, rng.choice([None, node]), turn)
    if op in ("query", "ask"):
        return op, Args("c", text)
    if op in ("candidate", "answer"):
        known = None
        if rng.random() < mix.rounds:
            current = state[-1].round(node) if state else 0
            known = current if rng.random() < 0.8 else rng.randint(0, current + 1)
        return op, Args("c", text if rng.random() < 0.8 else None, node, turn or turns or 1, known)
    return op, Args("c") if op == "create" else Args("c", None, node if op == "choose" else None, turn)


class _Execution:
    """Does one operation after the other, and records each with an interval around its effect."""

    def __init__(self, rng: random.Random, mix: Mix) -> None:
        self.rng = rng
        self.mix = mix
        self.states: dict[str, State] = {f"c{i}": None for i in range(mix.contexts)}
        self.created: list[str] = []
        self.history: list[Call] = []
        self.latest: dict[str, float] = {}

    def begin(self, kind: Op) -> None:
        steps: tuple[tuple[Op, Args], ...] = (("create", Args("c0")), (kind, Args("c0", "t0")))
        for at, (op, args) in zip((-40.0, -38.0), steps, strict=True):
            self.history.append(Call("first", op, args, at, at + 1, self.result(op, args, "c0")))

    def step(self, now: int) -> None:
        rng, mix = self.rng, self.mix
        context = rng.choice(list(self.states))
        op, args = random_operation(rng, self.states[context], mix)
        args = msgspec.structs.replace(args, context=context)
        start = float(now - rng.randint(0, mix.overlap))
        if rng.random() < mix.open_share / 2 and op != "view":
            self.history.append(Call(self.process(start), op, args, start))  # never done
            return
        if op == "view" and mix.contexts > 1 and rng.random() < 0.5:
            op, args = "viewall", Args()
            result = Result(True, conversations={name: shown(self.states[name]) or () for name in self.created})
        else:
            result = self.result(op, args, context)
        process = self.process(start) if op not in ("view", "viewall", "candidate", "answer") else "x"
        if rng.random() < mix.open_share / 2:
            self.history.append(Call(process, op, args, start))
            return
        end = float(now + rng.randint(0, mix.overlap))
        if op in ("view", "viewall") and rng.random() < mix.stale_share:
            result, start, end = msgspec.structs.replace(result, stale=True), now + 2.0, now + 3.0
        self.history.append(Call(process, op, args, start, end, result))

    def result(self, op: Op, args: Args, context: str) -> Result:
        state, outcome = apply(self.states[context], op, args)
        if self.states[context] is None and state is not None:
            self.created.append(context)
        self.states[context] = state
        return self.told(op, state, outcome)

    def told(self, op: Op, state: State, outcome: Outcome) -> Result:
        reason = outcome.reason if self.rng.random() < self.mix.told else None
        turn = outcome.turn if self.rng.random() < self.mix.told else None
        return Result(outcome.ok, reason, turn, shown(state) if op == "view" else None)

    def process(self, start: float) -> str:
        """One that has invoked nothing later yet, as its calls are done in order."""
        users = [f"u{i}" for i in range(self.mix.users) if self.latest.get(f"u{i}", ALWAYS) <= start]
        process = self.rng.choice(users) if users else f"u{len(self.history)}+"
        self.latest[process] = start
        return process


def execution(rng: random.Random, steps: int, mix: Mix, begun: Op | None = None) -> list[Call]:
    """begun: there is a conversation c0 with a first question of this kind; that is not part of the history's steps."""
    run = _Execution(rng, mix)
    if begun is not None:
        run.begin(begun)
    for now in range(steps):
        run.step(now)
    return run.history


def another_choice(rng: random.Random, one: Call) -> Call | None:
    turns = list((one.result and one.result.turns) or ())
    chosen = [i for i, turn in enumerate(turns) if turn.chosen is not None]
    if not chosen:
        return None
    i = rng.choice(chosen)
    turns[i] = msgspec.structs.replace(turns[i], chosen=(turns[i].chosen or 0) + 1)
    return with_turns(one, turns)


def without_last_turn(rng: random.Random, one: Call) -> Call | None:
    turns = list((one.result and one.result.turns) or ())
    return with_turns(one, turns[:-1]) if turns else None


def without_candidates(rng: random.Random, one: Call) -> Call | None:
    turns = list((one.result and one.result.turns) or ())
    if not turns or not turns[0].candidates:
        return None
    return with_turns(one, [msgspec.structs.replace(turns[0], candidates={}), *turns[1:]])


def another_text(rng: random.Random, one: Call) -> Call | None:
    turns = list((one.result and one.result.turns) or ())
    return with_turns(one, [msgspec.structs.replace(turns[0], query="?"), *turns[1:]]) if turns else None


def flipped(rng: random.Random, one: Call) -> Call | None:
    if one.result is None or one.reads:
        return None
    return msgspec.structs.replace(one, result=Result(not one.result.ok))


def earlier(rng: random.Random, one: Call) -> Call | None:
    if one.returned_at is None:
        return None
    return msgspec.structs.replace(one, invoked_at=one.invoked_at - 20, returned_at=one.returned_at - 20)


def with_turns(one: Call, turns: Sequence[SeenTurn]) -> Call:
    assert one.result is not None
    return msgspec.structs.replace(one, result=msgspec.structs.replace(one.result, turns=tuple(turns)))


Tampering = Callable[[random.Random, Call], Call | None]
TAMPERINGS: dict[Tampering, float] = {
    another_choice: 1.0, another_text: 1.0, without_candidates: 0.9, without_last_turn: 0.4, flipped: 0.5, earlier: 0.5,
}  # fmt: skip
"""With the share that must be caught: a view that had not to show the last turn, or its candidates, yet is none the
worse without them."""


def tampered(rng: random.Random, history: Sequence[Call], tamper: Tampering) -> list[Call] | None:
    for i in rng.sample(range(len(history)), len(history)):
        changed = tamper(rng, history[i])
        if changed is not None:
            return [*history[:i], changed, *history[i + 1 :]]
    return None


def with_views_swapped(rng: random.Random, history: Sequence[Call]) -> list[Call] | None:
    """Two views of as many turns, the last one open, show what the other one showed."""
    changed = list(history)
    views = [i for i, one in enumerate(history) if one.result is not None and one.result.turns]
    for i in rng.sample(views, len(views)):
        for j in rng.sample(views, len(views)):
            if _same_turn_in_another_form(history[i], history[j]):
                changed[i] = msgspec.structs.replace(history[i], result=history[j].result)
                changed[j] = msgspec.structs.replace(history[j], result=history[i].result)
                return changed
    return None


def _same_turn_in_another_form(one: Call, other: Call) -> bool:
    assert one.result is not None and other.result is not None
    turns, others = one.result.turns or (), other.result.turns or ()
    if len(turns) != len(others) or turns == others or one.result.stale or other.result.stale:
        return False
    return all(turn[-1].chosen is None and not turn[-1].cancelled for turn in (turns, others))
