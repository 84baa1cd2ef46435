"""Scenarios step by step, for mistakes that the swarm would need too long to stumble upon. Each belongs to a mutant, is
harmless on the true core, and raises a Violation on the mutant. Here the messages are in our hands."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kvstore.commands import Create
from paxos.limits import Limits
from paxos.messages import Accept, Accepted, AnyMessage, Confirmed, Decide, Fetch, Learn, ReadReply
from tests.simulation.checkers import all_checkers
from tests.simulation.world import SIM_LIMITS, Node, Violation, World


class Stage(World):
    """A cluster whose messages pass only if `lets_pass` (sender, receiver, message) says so."""

    def __init__(self, nodes: int, limits: Limits = SIM_LIMITS) -> None:
        super().__init__(1, range(1, nodes + 1), limits=limits, observers=all_checkers())
        self.lets_pass: Callable[[int, int, AnyMessage], bool] = lambda sender, to, message: True
        self.start()
        assert self.run_until(lambda: any(n.replica.leader is not None for n in self.nodes.values()), within=5.0)
        self.run(1.0)

    def carry(self, sender: Node, to: int, message: AnyMessage) -> None:
        if self.lets_pass(sender.pid, to, message):
            super().carry(sender, to, message)

    @property
    def leader(self) -> Node:
        return max((node for node in self.nodes.values() if node.up and node.replica.leader is not None),
                   key=lambda node: node.replica.acceptor.promised.leadership)

    def create(self, node: Node, context: str) -> None:
        node.submit(Create(context), lambda applied, outcome: None)


def stale_accepted_counted() -> None:
    """A node leads, starts again and leads again. Of the acceptances of its operation one belongs to its first
    leadership, two to its second, and that makes no quorum of either."""
    stage = Stage(5)
    node = stage.leader
    witness, second = [pid for pid in stage.pids if pid != node.pid][:2]
    late: list[tuple[int, AnyMessage]] = []
    accepting = witness

    def star(sender: int, to: int, message: AnyMessage) -> bool:
        """Nobody else can lead, and one node alone is asked to accept."""
        if isinstance(message, Accepted) and sender == witness:
            late.append((sender, message))
            return False
        return node.pid in (sender, to) and (to == accepting or not isinstance(message, Accept))

    stage.lets_pass = star
    stage.run(5.0)
    stage.create(node, "once")
    stage.run(0.05)
    assert late
    accepting = second
    node.crash()
    node.start()
    assert stage.run_until(lambda: node.replica.leader is not None, within=5.0)
    stage.run(0.1)
    for sender, message in late:
        node.receive(sender, message)
    stage.lets_pass = lambda sender, to, message: True
    stage.run(1.0)


def learns_over_a_gap() -> None:
    """A node loses its disk, and then gets an answer to what its earlier life had asked for."""
    stage = Stage(3)
    node = next(other for other in stage.nodes.values() if other is not stage.leader)
    late: list[tuple[int, AnyMessage]] = []

    def away(sender: int, to: int, message: AnyMessage) -> bool:
        return node.pid not in (sender, to)

    def answers_held(sender: int, to: int, message: AnyMessage) -> bool:
        if to == node.pid and isinstance(message, Learn):
            late.append((sender, message))
        return not isinstance(message, Learn)

    stage.create(stage.leader, "before")
    stage.run(0.5)
    stage.lets_pass = away
    stage.create(stage.leader, "meanwhile")
    stage.run(0.5)
    stage.lets_pass = answers_held
    stage.run(1.0)
    assert late
    node.crash()
    node.wipe()
    node.start()
    for sender, message in late:
        node.receive(sender, message)
    stage.lets_pass = lambda sender, to, message: True
    stage.run(2.0)


def promise_behind_the_cut() -> None:
    """One node has the last decision in a snapshot only, the other as an acceptance that it does not know as decided;
    the third, which could tell, dies."""
    stage = Stage(3, msgspec.structs.replace(SIM_LIMITS, snapshot_every=1, keep=1, lag=1))
    leader = stage.leader
    behind, away = [node for node in stage.nodes.values() if node is not leader]

    def two_of_three(sender: int, to: int, message: AnyMessage) -> bool:
        return away.pid not in (sender, to)

    def last_decision_untold(sender: int, to: int, message: AnyMessage) -> bool:
        return two_of_three(sender, to, message) and not (to == behind.pid and isinstance(message, Decide | Learn))

    stage.lets_pass = two_of_three
    for number in range(4):
        stage.create(leader, f"c{number}")
        stage.run(0.3)
    stage.lets_pass = last_decision_untold
    stage.create(leader, "last")
    stage.run(0.1)
    stage.lets_pass = lambda sender, to, message: behind.pid not in (sender, to)
    assert stage.run_until(lambda: away.replica.log.released == leader.replica.applied, within=5.0)
    assert behind.replica.log.decided < away.replica.log.released
    leader.crash()
    stage.lets_pass = lambda sender, to, message: not isinstance(message, Fetch)
    stage.create(behind, "new")
    stage.run(3.0)
    stage.lets_pass = lambda sender, to, message: True
    stage.run(1.0)


def reads_confirmed_by_old_round() -> None:
    """A leader that has been replaced, without knowing, is asked for a read; and an old confirmation comes late."""
    stage = Stage(3)
    old = stage.leader
    others = [node for node in stage.nodes.values() if node is not old]
    late: list[tuple[int, AnyMessage]] = []
    answered: list[str] = []

    def one_confirms_late(sender: int, to: int, message: AnyMessage) -> bool:
        if isinstance(message, Confirmed) and sender == others[0].pid:
            late.append((sender, message))
            return False
        return True

    stage.lets_pass = one_confirms_late
    old.read(lambda: answered.append("first read"))
    stage.run(0.05)
    assert late and answered
    stage.lets_pass = lambda sender, to, message: old.pid not in (sender, to)
    for node in others:
        node.suspect(old.pid)
    assert stage.run_until(lambda: stage.leader is not old, within=0.3)
    stage.leader.submit(Create("new"), lambda applied, outcome: answered.append("new"))
    assert stage.run_until(lambda: "new" in answered, within=0.1)
    assert old.replica.leader is not None
    old.read(lambda: must_show(old, "new"))
    stage.run(stage.timing.tick_s)
    for sender, message in late:
        old.receive(sender, message)
    stage.lets_pass = lambda sender, to, message: True
    stage.run(2.0)


def reads_of_an_earlier_life() -> None:
    """A node starts again; then comes the answer to the first read of its life before."""
    stage = Stage(3)
    node = next(other for other in stage.nodes.values() if other is not stage.leader)
    late: list[tuple[int, AnyMessage]] = []
    acknowledged: list[str] = []

    def answers_held(sender: int, to: int, message: AnyMessage) -> bool:
        if isinstance(message, ReadReply):
            late.append((sender, message))
        return not isinstance(message, ReadReply)

    stage.lets_pass = answers_held
    node.read(lambda: None)
    stage.run(0.1)
    assert late
    node.crash()
    stage.leader.submit(Create("new"), lambda applied, outcome: acknowledged.append("new"))
    assert stage.run_until(lambda: bool(acknowledged), within=1.0)
    node.start()
    node.read(lambda: must_show(node, "new"))
    for sender, message in late:
        node.receive(sender, message)
    stage.lets_pass = lambda sender, to, message: True
    stage.run(2.0)


def must_show(node: Node, context: str) -> None:
    if context not in node.store.conversations:
        raise Violation(f"{node.pid} shows a state from before what was acknowledged")


SCENARIOS: dict[str, Callable[[], None]] = {
    "stale-accepted-counted": stale_accepted_counted,
    "learns-over-a-gap": learns_over_a_gap,
    "promise-behind-the-cut": promise_behind_the_cut,
    "reads-confirmed-by-old-round": reads_confirmed_by_old_round,
    "found-reads-of-an-earlier-life": reads_of_an_earlier_life,
}
