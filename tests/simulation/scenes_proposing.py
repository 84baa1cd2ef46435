"""Scenes of proposers and acceptors: what is promised, accepted, inherited and decided."""

from __future__ import annotations

from paxos.messages import Accept, Accepted, Decide, Fetch, Forward, Learn, Prepare, Promise, SnapshotPiece
from tests.simulation.stage import OffStage, Stage
from tests.simulation.world import Node


def hub_campaigns_again(stage: Stage) -> Node:
    """In a star of five, the one that may lead starts again."""
    hub = stage.others(stage.leader)[0]
    stage.star(hub)
    stage.until(lambda: hub.pid in stage.leads)
    stage.run(0.5)
    hub.crash()
    return hub


def is_outranked(stage: Stage, node: Node) -> bool:
    """Another node leads with a higher leadership than any that this node has promised."""
    promised = node.replica.acceptor.promised.leadership
    return any(stage.nodes[pid].replica.acceptor.promised.leadership > promised for pid in stage.leads)


def stale_accepted_counted() -> None:
    """A node leads, starts again and leads again. Of the acceptances of its operation one belongs to its first
    leadership, two to its second, and that makes no quorum of either."""
    stage = Stage(5)
    hub = stage.leader
    witness, second, *rest = stage.others(hub)
    stage.star(hub)
    stage.run(5.0)
    stage.lose(Accept, to=[second, *rest])
    stage.hold(Accepted, of=witness)
    stage.create(hub, "once")
    stage.until(lambda: stage.held)
    hub.crash()
    stage.mend()
    stage.star(hub)
    stage.lose(Accept, to=[witness, *rest])
    hub.start()
    stage.until(lambda: hub.pid in stage.leads)
    stage.run(0.1)
    stage.release()
    stage.end()


def stale_promise_counted() -> None:
    """A candidate starts again and campaigns again. A promise for its first candidacy comes; nobody has given one for
    the second, whose Prepares were lost."""
    stage = Stage(5)
    hub = hub_campaigns_again(stage)
    stage.hold(Promise, to=hub)
    hub.start()
    stage.until(lambda: len(stage.held) == 4)
    hub.crash()
    stage.lose(Prepare)
    hub.start()
    stage.until(lambda: hub.replica.candidate is not None)
    stage.run(0.1)
    stage.release()
    stage.create(hub, "without-a-quorum")
    stage.run(0.1)
    stage.end()


def all_comes_twice() -> None:
    """In a cluster of five a leader hears of one acceptance, and later a candidate of one promise, besides its own; but
    of each twice."""
    stage = Stage(5)
    leader = stage.leader
    stage.weather.duplicate = 1.0
    stage.lose(Accept, to=stage.others(leader)[1:])
    stage.create(leader, "accepted-by-two")
    stage.run(0.1)
    stage.mend()
    stage.run(1.0)
    hub = hub_campaigns_again(stage)
    stage.lose(Prepare, to=stage.others(hub)[1:])
    hub.start()
    stage.until(lambda: hub.replica.candidate is not None)
    stage.create(hub, "promised-by-two")
    stage.run(0.3)
    stage.end()


def late_words_of_the_replaced() -> None:
    """Node A campaigns, and dies before anybody hears of it. B leads by then, with a higher number, when A's Prepare
    arrives at last; and C leads when B's Accept does."""
    stage = Stage(3)
    first = stage.leader
    first.crash()
    stage.hold(Prepare)
    stage.until(lambda: stage.held)
    candidate = stage.nodes[stage.held[0].sender]
    candidate.crash()
    stage.mend()
    first.start()
    stage.until(lambda: stage.leads - {candidate.pid})
    stage.run(0.2)
    stage.release()
    stage.run(0.2)
    candidate.start()
    stage.run(1.0)
    old = stage.leader
    stage.hold(Accept, of=old)
    stage.create(old, "late")
    stage.until(lambda: stage.held)
    stage.cut(old)
    stage.until(lambda: stage.leader is not old)
    stage.run(0.2)
    stage.release()
    stage.run(0.2)
    stage.end()


def behind_and_alone(asked: int, *, promises_held: bool, **limits: int) -> tuple[Stage, Node]:
    """A node that does not know the last three decisions is the only one that can lead. It asks so many others for a
    promise; what they would teach it otherwise is held back, and so are their promises if the story wants it."""
    stage = Stage(5, learn_operations=1, **limits)
    leader = stage.leader
    behind, *others = stage.others(leader)
    stage.cut(behind)
    stage.decide(leader, "a", "b", "c")
    leader.crash()
    stage.mend()
    stage.star(behind)
    stage.lose(Prepare, of=behind, to=others[asked:])
    stage.hold(Learn, to=behind)
    if promises_held:
        stage.hold(Promise, to=behind)
    return stage, behind


def asks_from_later_on(stage: Stage, node: Node) -> None:
    """The candidate is taught one decision, and asks again from the next position on."""
    stage.until(lambda: any(isinstance(sent.message, Learn) for sent in stage.held))
    stage.release(Learn, first=1)
    stage.until(lambda: node.replica.candidate is not None and node.replica.candidate.ballot.op_num == 2)
    stage.run(0.05)


def learns_from_promises() -> None:
    """A candidate learns unknown decisions from promises."""
    stage, behind = behind_and_alone(3, promises_held=False)
    stage.expect("the candidate leads", lambda: behind.pid in stage.leads)
    stage.end()


def too_many_for_a_promise() -> None:
    """A candidate lacks more decisions than a promise may show. It must learn them first."""
    stage, behind = behind_and_alone(3, promises_held=False, lag=2, keep=2)
    stage.until(lambda: behind.replica.candidate is not None)
    stage.run(0.5)
    stage.end()


def too_large_for_a_promise() -> None:
    """A candidate lacks few decisions, but more bytes of them than a promise may show. It must learn them first."""
    stage, behind = behind_and_alone(3, promises_held=False, lag_bytes=10)
    stage.until(lambda: behind.replica.candidate is not None)
    stage.run(0.5)
    stage.end()


def promise_for_another_start_counted() -> None:
    """A candidate has learned a decision and asks again from the next position on. Promises that were asked for before
    come only now; what they show begins one position earlier."""
    stage, behind = behind_and_alone(3, promises_held=True)
    stage.until(lambda: len({sent.sender for sent in stage.held if isinstance(sent.message, Promise)}) == 3)
    early = [sent for sent in stage.held if isinstance(sent.message, Promise)]
    asks_from_later_on(stage, behind)
    stage.hand(early)
    stage.run(0.1)
    stage.end()


def promises_kept_over_restart() -> None:
    """A candidate has one promise of two that it needs when it learns a decision and asks again from the next position
    on. The second promise begins there, the first did not."""
    stage, behind = behind_and_alone(1, promises_held=False)
    stage.until(lambda: behind.replica.candidate is not None and len(behind.replica.candidate.promises) == 2)
    stage.until(lambda: stage.held)
    asks_from_later_on(stage, behind)
    stage.mend()
    stage.star(behind)
    stage.hold(Learn, to=behind)
    stage.until(lambda: behind.pid in stage.leads)
    stage.run(0.1)
    stage.end()


def two_acceptances() -> None:
    """At one position two nodes hold different operations, of two leaderships; the later one counts. The node that
    holds the later one asks; so the promise with the older one comes last."""
    stage = Stage(3)
    first = stage.leader
    stage.cut(first)
    stage.until(lambda: stage.leader is not first)
    lower = stage.leader
    stage.lose(Accept, of=lower)
    stage.create(lower, "older")
    stage.run(0.05)
    stage.mend()
    stage.cut(lower)
    stage.until(lambda: is_outranked(stage, lower))
    upper = stage.leader
    stage.lose(Accept, of=upper)
    stage.create(upper, "later")
    stage.run(0.05)
    for node in stage.nodes.values():
        node.crash()
    stage.mend()
    stage.lose(Prepare, of=lower)
    lower.start()
    upper.start()
    stage.until(lambda: upper.pid in stage.leads)
    stage.run(0.1)
    stage.end()


def learned_then_restarted() -> None:
    """A node learns that what it accepted is decided, and restarts: it must still know that it is decided."""
    stage = Stage(3)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.lose(Decide, to=node)
    stage.create(leader, "learned")
    stage.until(lambda: node.replica.log.decided_upto == 1)
    stage.run(0.5)
    node.crash()
    node.start()
    stage.end()


def gap_filled() -> None:
    """Of two operations only the second reached anybody when the leader dies: it keeps its position, and a no-op takes
    the first one's."""
    stage = Stage(3)
    leader = stage.leader
    stage.lose(Accept, of=leader, where=lambda accept: accept.ballot.op_num == 1)
    stage.create(leader, "lost")
    stage.create(leader, "kept")
    stage.run(0.1)
    leader.crash()
    stage.until(lambda: stage.leads)
    stage.run(0.1)
    stage.end()


def inherits_too_much() -> None:
    """Two operations are chosen; while a candidate waits for a promise that shows both, it hears that the first is
    decided."""
    stage = Stage(3)
    leader = stage.leader
    stage.hold(Decide)
    stage.lose(Accepted, to=leader, where=lambda accepted: accepted.ballot.op_num == 2)
    stage.create(leader, "first")
    stage.create(leader, "second")
    stage.until(lambda: stage.held)
    leader.crash()
    stage.hold(Promise)
    stage.until(lambda: any(isinstance(sent.message, Promise) for sent in stage.held))
    candidate = next(node for node in stage.nodes.values() if node.up and node.replica.candidate is not None)
    stage.run(0.05)
    stage.release(Decide, to=candidate)
    stage.release(Promise, to=candidate)
    stage.run(0.1)
    stage.end()


def decide_ignores_leadership() -> None:
    """A leader that was replaced holds an operation that nobody else accepted. It hears that its position is decided,
    and not what."""
    stage = Stage(3)
    old = stage.leader
    stage.lose(Accept, of=old)
    stage.create(old, "forgotten")
    stage.run(0.05)
    stage.cut(old)
    stage.until(lambda: stage.leader is not old)
    new = stage.leader
    stage.decide(new, "decided")
    stage.mend()
    stage.lose(Accept, Learn, SnapshotPiece, to=old)
    stage.create(new, "next")
    stage.run(0.3)
    stage.end()


def decided_twice() -> None:
    """A user's operation reaches two leaders. One alone accepts it at position 1, others at 2; whoever leads next
    proposes it again at both. It is done once."""
    stage = Stage(3)
    first = stage.leader
    second, user = stage.others(first)
    stage.lose(Accept)
    stage.create(user, "once")
    stage.run(0.05)
    stage.cut(first)
    stage.hold(Forward, of=user)
    stage.until(lambda: stage.leader is second)
    stage.create(second, "never-heard-of")
    stage.run(0.05)
    stage.mend()
    stage.cut(first)
    stage.lose(Accept, where=lambda accept: accept.ballot.op_num == 1)
    stage.release(Forward, to=second, first=1)
    stage.run(0.05)
    second.crash()
    stage.mend()
    stage.until(lambda: is_outranked(stage, second))
    stage.run(0.3)
    stage.end()


def promise_behind_the_cut() -> None:
    """One node has the last decision in a snapshot only, the other as an acceptance that it does not know as decided;
    the third, which could tell, dies."""
    stage = Stage(3, snapshot_every=1, keep=1, lag=1)
    leader = stage.leader
    behind, away = stage.others(leader)
    stage.cut(away)
    stage.decide(leader, "a", "b", "c", "d")
    stage.lose(Decide, Learn, to=behind)
    stage.create(leader, "last")
    stage.run(0.1)
    stage.mend()
    stage.cut(behind)
    stage.until(lambda: away.replica.log.compacted == leader.replica.applied)
    if behind.replica.log.decided_upto >= away.replica.log.compacted:
        raise OffStage(f"{behind.pid} knows too much")
    leader.crash()
    stage.mend()
    stage.lose(Fetch)
    stage.create(behind, "new")
    stage.run(3.0)
    stage.end()


def news_of_decisions() -> None:
    """Who waits for a decision is told of it at once, the others within a tick, without asking for it."""
    stage = Stage(5)
    stage.weather.delay = stage.weather.fsync = 0.001
    stage.weather.jitter = 0.0
    stage.run(5.0)
    stage.lose(Fetch)
    for number in range(8):
        stage.create(stage.others(stage.leader)[0], f"a{number}")
        stage.expect("a user is told at once", lambda number=number: f"a{number}" in stage.told, within=0.02)  # type: ignore[misc]
        stage.run(0.007)
    last = stage.leader.replica.applied
    stage.expect("all are told", lambda: all(node.replica.applied >= last for node in stage.nodes.values()), within=0.1)
    stage.mend()
    stage.end()
