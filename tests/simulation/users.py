"""Users and LLMs of the simulated cluster. Users' calls and results go into a history; so do the LLMs' answers.

The LLMs' side is the little that the core's guarantees need: every node answers a query that it applied, the leader
answers an ask, late or with a failure, and a restarted node answers what is still pending. An LLM that is asked again
also gives what it had begun before: the store must refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

import msgspec

from kvstore.conversation import Kind, Turn
from kvstore.operations import (
    Answer,
    Ask,
    AskOnce,
    Cancel,
    Candidate,
    Choose,
    Create,
    Delete,
    Fork,
    Query,
    Regenerate,
    Rename,
    Retry,
    SetAuto,
    SetQuotas,
    SetSystem,
    StoreOperation,
    Synthesize,
    Synthesized,
    Undelete,
    not_understood,
)
from kvstore.store import Outcome
from paxos.messages import Snapshot
from paxos.output import Applied, Durable
from tests.simulation.events import Use
from tests.simulation.history import Args, Op, Pending, Recorder, Result, SeenTurn
from tests.simulation.hostile import PREFIX
from tests.simulation.observer import Violation
from tests.simulation.plan import COPIED, KEYED, Llm
from tests.simulation.world import Node, Observer, World

REASONS = (
    ("answer is final", "kind"), ("is a query", "kind"), ("is not the last", "closed"),
    ("has no answer yet", "nothing"),
    ("is already asked for a synthesis", "awaited"), ("needs at least two answers", "too few"), ("is over", "over"),
    ("is asked for a synthesis", "not asked"), ("there is no synthesis", "no answer"),
    ("is open since", "closed"), ("no deleted conversation", "unknown"), ("there is another", "exists"),
    ("already exists", "exists"), ("no conversation", "unknown"),
    ("has an open question", "open"), ("only what is closed", "open"),
    ("nothing to choose from", "nothing"), ("has no open question: already chosen", "closed"),
    ("has no open question: turn", "closed"), ("has no open question", "nothing"), ("already chosen", "closed"),
    ("was cancelled", "closed"), ("has no turn", "no turn"), ("is not of the kind", "kind"),
    ("has already responded", "duplicate"), ("has been asked again", "again"), ("has not failed", "not failed"),
    ("has no answer", "no answer"), ("failed;", "failed"), ("turns, and the quota of a conversation is", "full"),
)
"""Maps the store's error texts to the model's reasons; the first match counts."""

ASK_AGAIN_S = 0.5
"""How often a node checks whether it is the leader that must answer an ask."""


def reason(error: str | None) -> str | None:
    if error is None:
        return None
    for words, meaning in REASONS:
        if words in error:
            return meaning
    raise AssertionError(f"the model has no word for: {error}")


def result(outcome: Outcome) -> Result:
    """As the history has it. Of a full conversation also how many turns it would have."""
    why = reason(outcome.error)
    would_have = re.search(r"would have (\d+) turns", outcome.error or "") if why == "full" else None
    return Result(outcome.ok, why, outcome.turn if would_have is None else int(would_have.group(1)))


def seen(turns: list[Turn]) -> tuple[SeenTurn, ...]:
    """A conversation as a view shows it."""
    return tuple(
        SeenTurn(
            turn.text, {node: response.text for node, response in turn.candidates.items()}, turn.chosen,
            turn.cancelled, "ask" if turn.kind is Kind.ASK else "query",
            turn.regenerating or turn.open_synthesis is not None,
        )
        for turn in turns
    )


class Users(Observer):
    """Types the plan's commands, simulates the LLMs, and records all results."""

    def __init__(self, llm: Llm) -> None:
        self.recorder = Recorder()
        self.waiting: dict[int, int] = {}
        """By node, how many of its users' commands (of this incarnation) have not been answered."""
        self.answered = 0
        self._llm = llm
        self._typed = 0
        self._owed: dict[int, set[tuple[str, int, int, bool]]] = {}
        """By node, the turns that its LLM works on, how often it had been asked again, and whether that is for a
        synthesis: then it is the number of that."""

    # ---- Users

    def type(self, world: World, use: Use) -> None:
        """One command of one user, if the node is up."""
        node = world.nodes[use.pid]
        if not node.up or node.foreign:
            return
        self._typed += 1
        if use.op == "quotas":
            self._set_quotas(world, node, use)
            return
        if use.op in ("view", "viewall"):
            self._view(world, node, use)
            return
        command, args = self._command(node, use)
        if not_understood(command, lambda: node.replica.operations_versions()) is not None:
            return
        self._submit(world, node, f"n{node.pid}.{node.incarnation} u{use.user}", use.op, command, args)

    def _command(self, node: Node, use: Use) -> tuple[StoreOperation, Args]:
        context = use.context
        match use.op:
            case "create":
                return Create(context), Args(context)
            case "query" | "ask":
                text = f"q{self._typed}"
                return (Query if use.op == "query" else Ask)(context, text), Args(context, text)
            case "once":
                text = f"k{use.dice}"
                return AskOnce(context, text, key=text, history=b""), Args(context, text)
            case "delete":
                return Delete(context), Args(context)
            case "undelete":
                return Undelete(context), Args(context)
            case "rename" | "fork":
                name = COPIED[use.dice % len(COPIED)]
                turn = use.dice % 2 or None if use.op == "fork" else None
                command = Rename(context, name) if use.op == "rename" else Fork(name, context, turn)
                return command, Args(context, name=name, turn=turn)
            case "system":
                text = "" if use.dice == 0 else f"s{self._typed}"
                return SetSystem(context, text), Args(context, text)
            case "auto":
                return SetAuto(context, bool(use.dice % 2)), Args(context, "on" if use.dice % 2 else "off")
            case "cancel":
                return Cancel(context), Args(context)
            case "retry":
                return self._retry(node, use)
            case "regenerate" | "synth":
                return self._again(node, use)
        shown = node.store.conversations.get(context)
        choices = shown.turns[-1].choices if shown is not None and shown.turns else []
        chosen = choices[use.dice % len(choices)] if choices else 1 + use.dice % len(node.world.pids)
        turn = len(shown.turns) if shown is not None and choices and use.dice % 2 else None
        return Choose(context, chosen, turn), Args(context, node=chosen, turn=turn)

    def _retry(self, node: Node, use: Use) -> tuple[StoreOperation, Args]:
        """Of all nodes or one, with or without naming the last turn that this node knows."""
        shown = node.store.conversations.get(use.context)
        whom = None if use.dice % 3 else 1 + use.dice % len(node.world.pids)
        turn = len(shown.turns) if shown is not None and shown.turns and use.dice % 2 else None
        return Retry(use.context, turn, whom), Args(use.context, node=whom, turn=turn)

    def _again(self, node: Node, use: Use) -> tuple[StoreOperation, Args]:
        """Another answer to an ask, or one out of those to a query: the leader's, or a node's."""
        context, shown = use.context, node.store.conversations.get(use.context)
        turn = len(shown.turns) if shown is not None and shown.turns and use.dice % 2 else None
        if use.op == "regenerate":
            return Regenerate(context, turn), Args(context, turn=turn)
        whom = None if use.dice % 3 else 1 + use.dice % len(node.world.pids)
        return Synthesize(context, turn, whom), Args(context, node=whom, turn=turn)

    def _set_quotas(self, world: World, node: Node, use: Use) -> None:
        """So few turns that users meet the quota. It is no part of the history of any conversation."""
        operation = SetQuotas(conversations=1000, turns=use.dice, bytes=1_000_000, total=100_000_000)
        if not_understood(operation, lambda: node.replica.operations_versions()) is None:
            world.note(f"{node.pid}'s user types: {operation}")
            node.submit(operation, lambda applied, outcome: None)

    def _submit(self, world: World, node: Node, process: str, op: str, command: StoreOperation, args: Args) -> None:
        pending = self.recorder.invoke(process, op, args, world.now)  # type: ignore[arg-type]
        incarnation = node.incarnation
        self.waiting[node.pid] = self.waiting.get(node.pid, 0) + 1

        def answer(applied: Applied | None, outcome: Outcome | None) -> None:
            assert incarnation == node.incarnation
            self._done(node)
            world.note(f"{node.pid} tells its user: {op} {args.context}: "
                       f"{'decided' if outcome is None else outcome.error or 'ok'}")
            if outcome is not None:
                self._hold_to_quota(node, command, outcome)
                pending.returned(world.now, result(outcome))

        world.note(f"{node.pid}'s user types: {op} {args}")
        if not node.submit(command, answer):
            self._done(node)

    def _hold_to_quota(self, node: Node, command: StoreOperation, outcome: Outcome) -> None:
        """A user is told at the position where the operation was decided: the quotas are those in force there."""
        quotas = node.store.quotas
        if quotas is not None and outcome.ok and type(command) in (Query, Ask) and (outcome.turn or 0) > quotas.turns:
            raise Violation(f"{node.pid} took turn {outcome.turn} of {command.context}, against {quotas}")

    def _view(self, world: World, node: Node, use: Use) -> None:
        args = Args(use.context) if use.op == "view" else Args()
        pending = self.recorder.invoke(f"n{node.pid}.{node.incarnation} u{use.user}", use.op, args, world.now)  # type: ignore[arg-type]
        self.waiting[node.pid] = self.waiting.get(node.pid, 0) + 1

        def answer() -> None:
            self._done(node)
            self._show(world, node, use, pending)

        world.note(f"{node.pid}'s user types: {use.op} {use.context}")
        if not node.read(answer):
            self._done(node)

    def _show(self, world: World, node: Node, use: Use, pending: Pending) -> None:
        conversations = node.store.conversations
        if use.op == "viewall":
            shown = {context: seen(conversation.turns) for context, conversation in conversations.items()
                     if not context.startswith(PREFIX)}
            result = Result(True, conversations=shown)
        elif use.context in conversations:
            found = conversations[use.context]
            system, auto = (found.system, found.auto) if use.context in COPIED else (None, None)
            result = Result(True, turns=seen(found.turns), system=system, auto=auto)
        else:
            result = Result(False, "unknown")
        world.note(f"{node.pid} shows {use.context or 'all'} at {node.replica.applied}")
        pending.returned(world.now, result)

    def _done(self, node: Node) -> None:
        self.waiting[node.pid] -= 1
        self.answered += 1

    # ---- LLMs

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self.waiting[node.pid] = 0
        self._owed[node.pid] = set()
        incarnation = node.incarnation
        world.at(ASK_AGAIN_S, lambda: self._look(world, node, incarnation))

    def applied(self, world: World, node: Node, applied: Applied, outcome: Outcome) -> None:
        asking = Query | Ask | Retry | Regenerate | Synthesize
        if outcome.ok and isinstance(outcome.operation, asking) and outcome.turn is not None:
            self._begin(world, node, outcome.operation.context, outcome.turn)

    def installed(self, world: World, node: Node, snapshot: Snapshot) -> None:
        self._look(world, node, node.incarnation)

    def _look(self, world: World, node: Node, incarnation: int) -> None:
        """Takes up everything that this node's LLM has not answered."""
        if node.up and incarnation == node.incarnation:
            for context, conversation in node.store.conversations.items():
                if conversation.pending_turn is not None:
                    self._begin(world, node, context, conversation.pending_turn)

    def _begin(self, world: World, node: Node, context: str, turn: int) -> None:
        if context == KEYED or context in COPIED:
            return
        asked = node.store.conversations[context].turns[turn - 1]
        round, synthesis = asked.round(node.pid), asked.open_synthesis
        self._think(world, node, Args(context, None, node.pid, turn, round), f" again {round}" if round else "")
        if synthesis is not None and synthesis.node in (None, node.pid):
            args = Args(context, None, node.pid, turn, synthesis.number)
            self._think(world, node, args, f" synthesis {synthesis.number}", is_synthesis=True)

    def _think(self, world: World, node: Node, args: Args, which: str, is_synthesis: bool = False) -> None:
        """The node's LLM begins to answer, unless it has begun before."""
        context, turn, round = args.context or "", args.turn or 0, args.round or 0
        if (context, turn, round, is_synthesis) in self._owed[node.pid]:
            return
        self._owed[node.pid].add((context, turn, round, is_synthesis))
        random = Random(f"{world.seed} {node.pid} {node.incarnation} {context} {turn}{which}")
        seconds = random.random() * self._llm.seconds
        if random.random() >= self._llm.failing:
            args = msgspec.structs.replace(args, text=f"a{node.pid}.{node.incarnation}.{context}{turn}{which}")
        give = self._give_synthesis if is_synthesis else self._give
        world.at(seconds, self._when_alive(node, node.incarnation, lambda: give(world, node, args)))

    def _when_alive(self, node: Node, incarnation: int, action: Callable[[], None]) -> Callable[[], None]:
        def act() -> None:
            if node.up and node.incarnation == incarnation:
                action()

        return act

    def _give(self, world: World, node: Node, args: Args) -> None:
        context, number, round = args.context or "", args.turn or 0, args.round or 0
        conversation = node.store.conversations.get(context)
        if conversation is None or conversation.pending_turn != number:
            return
        turn = conversation.turns[number - 1]
        error = "overloaded" if args.text is None else None
        process = f"n{node.pid}.{node.incarnation} llm"
        if turn.kind is Kind.QUERY:
            if node.pid not in turn.candidates:
                said = Candidate(context, number, node.pid, args.text, error, round=round)
                self._submit(world, node, process, "candidate", said, args)
            return
        if node.replica.status().role == "leader":
            answer = Answer(context, number, node.pid, args.text, error, round=round)
            self._submit(world, node, process, "answer", answer, args)
            return
        world.at(ASK_AGAIN_S, self._when_alive(node, node.incarnation, lambda: self._give(world, node, args)))

    def _give_synthesis(self, world: World, node: Node, args: Args) -> None:
        """Also if it has been called off meanwhile, or another one is awaited."""
        context, number, round = args.context or "", args.turn or 0, args.round or 0
        conversation = node.store.conversations.get(context)
        if conversation is None or conversation.open_turn != number:
            return
        awaited = conversation.turns[number - 1].open_synthesis
        is_awaited = awaited is not None and awaited.number == round
        if node.replica.status().role == "leader" or (is_awaited and awaited is not None and awaited.node == node.pid):
            error = "overloaded" if args.text is None else None
            said = Synthesized(context, number, node.pid, args.text, error, round=round)
            if not_understood(said, lambda: node.replica.operations_versions()) is None:
                self._submit(world, node, f"n{node.pid}.{node.incarnation} llm", "synthesis", said, args)
        elif is_awaited:
            again = self._when_alive(node, node.incarnation, lambda: self._give_synthesis(world, node, args))
            world.at(ASK_AGAIN_S, again)


__all__ = ["Op", "Users", "reason", "seen"]
