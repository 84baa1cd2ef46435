"""Scenes of users: reads, and the identity of operations."""

from __future__ import annotations

from paxos.messages import Accept, Change, Confirm, Confirmed, Decide, Forward, Learn, Outranked, ReadReply
from tests.simulation.stage import OffStage, Stage
from tests.simulation.world import Node


def replaced_unaware(stage: Stage) -> Node:
    """A leader is cut off, and does not notice yet that another one has taken its place and decided something new."""
    old = stage.leader
    stage.cut(old)
    stage.run(0.01)  # what is under way still arrives
    stage.others(old)[0].suspect(old.pid)
    stage.until(lambda: stage.leader is not old, within=0.3)
    stage.create(stage.leader, "new")
    stage.until(lambda: "new" in stage.told, within=0.1)
    if old.pid not in stage.leads:
        raise OffStage("it has noticed")
    return old


def reads_without_quorum() -> None:
    """A leader that has been replaced, without knowing, and hears nobody, is asked for a read."""
    stage = Stage(3)
    old = replaced_unaware(stage)
    stage.read(old, shows="new")
    stage.run(0.1)
    stage.end()


def higher_leader_confirms() -> None:
    """A leader that has been replaced, without knowing, asks those who replaced it whether it leads."""
    stage = Stage(3)
    old = replaced_unaware(stage)
    stage.mend()
    stage.lose(of=old, where=lambda message: not isinstance(message, Confirm))
    stage.lose(to=old, where=lambda message: not isinstance(message, Confirmed | Outranked))
    stage.read(old, shows="new")
    stage.run(0.1)
    stage.end()


def reads_confirmed_by_old_round() -> None:
    """A leader that has been replaced, without knowing, is asked for a read; and an old confirmation comes late."""
    stage = Stage(3)
    old = stage.leader
    stage.decide(old, "before")
    stage.hold(Confirmed, of=stage.others(old)[0])
    answered = stage.read(old, shows="before")
    stage.until(lambda: stage.held and answered)
    replaced_unaware(stage)
    stage.read(old, shows="new")
    stage.run(stage.timing.tick_s)
    stage.release()
    stage.end()


def reads_confirmed_before_a_change() -> None:
    """The same; between the old confirmations and the read, the members were changed, under the same leadership."""
    stage = Stage(5)
    old = stage.leader
    stage.decide(old, "before")
    near, next_, *_, last = stage.others(old)
    for node in near, next_:
        stage.hold(Confirmed, of=node)
    answered = stage.read(old, shows="before")
    stage.until(lambda: len({sent.sender for sent in stage.held}) == 2 and answered)
    stage.change(Change.REMOVE, last.pid)
    stage.until(lambda: stage.leads == {old.pid})
    replaced_unaware(stage)
    stage.read(old, shows="new")
    stage.run(stage.timing.tick_s)
    stage.release()
    stage.end()


def reads_before_inheritance() -> None:
    """A leader dies when it has told its user that something is done, and nobody else that it is decided. Its successor
    is asked for a read before that is decided once more."""
    stage = Stage(3)
    first = stage.leader
    stage.lose(Decide, Learn)
    stage.create(first, "done")
    stage.until(lambda: "done" in stage.told)
    first.crash()
    stage.lose(Accept)
    stage.until(lambda: stage.leads)
    stage.read(stage.leader, shows="done")
    stage.run(0.3)
    stage.end()


def reads_at_the_barrier() -> None:
    """The only node that can lead starts again and leads again. It inherits an operation from its own disk that nobody
    else has; it is asked for a read, and dies for good. That operation is never decided; the read must not wait for
    it."""
    stage = Stage(5)
    hub = stage.leader
    reader = stage.others(hub)[0]
    stage.decide(hub, "before")
    stage.star(hub)
    stage.lose(Accept, of=hub)
    stage.create(hub, "never")
    stage.run(0.05)
    hub.crash()
    hub.start()
    stage.until(lambda: hub.pid in stage.leads)
    stage.run(0.2)
    answered = stage.read(reader, shows="before")
    stage.run(0.2)
    hub.crash()
    stage.mend()
    stage.expect("the read is answered", lambda: answered)
    stage.end()


def reads_of_an_earlier_incarnation() -> None:
    """A node starts again; then comes the answer to the first read of its incarnation before."""
    stage = Stage(3)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.decide(leader, "before")
    stage.hold(ReadReply, to=node)
    stage.read(node, shows="before")
    stage.until(lambda: stage.held)
    node.crash()
    node.start()
    stage.until(lambda: node.replica.applied == leader.replica.applied)
    stage.cut(node)
    stage.decide(leader, "new")
    stage.read(node, shows="new")
    stage.release()
    stage.end()


def earlier_incarnation_counts() -> None:
    """An operation of a node's earlier incarnation comes late, when one of a later is done already."""
    stage = Stage(3)
    node = stage.others(stage.leader)[0]
    stage.hold(Forward, of=node)
    stage.create(node, "early")
    stage.until(lambda: stage.held)
    node.crash()
    stage.mend()
    node.start()
    stage.decide(node, "late")
    stage.release()
    stage.run(0.2)
    stage.end()


def same_incarnation_again() -> None:
    """A node loses its disk and its calendar is set back, so its incarnation is lower than the one before. As soon as
    it learns of that, it takes a higher one, does something under it, and dies before that is on its disk. When it
    starts again it must not take the same one: it would take what was done under it for its own."""
    stage = Stage(3, learn_operations=1)
    leader = stage.leader
    node = stage.others(leader)[0]
    stage.decide(node, "first-start")
    node.crash()
    node.wipe()
    node.epoch_us //= 2
    node.start()
    node.stall(60.0)
    stage.decide(node, "second-start")
    node.crash()
    node.disarm()
    node.start()
    stage.create(node, "third-start")
    stage.expect("what its user wants after the third start is done", lambda: "third-start" in stage.told)
    stage.end()
