"""What the plan of a run believes of disks: how many may be lost, and who leads in the end."""

from __future__ import annotations

import msgspec

from paxos.output import Persist, VoterStatus
from tests.simulation.membership import Membership
from tests.simulation.stage import FirstStart, Stage
from tests.simulation.world import Node


def membership(stage: Stage) -> Membership:
    return Membership(stage, Node.start)


def test_a_new_disk_that_knows_of_no_cluster_may_not_vote_now() -> None:
    """Although the configuration names it: it has to be told so, or to hear from more nodes than a leader does."""
    stage = FirstStart(3)
    stage.until(lambda: all(node.replica.cluster for node in stage.nodes.values()))
    disks, configuration = membership(stage), stage.configurations[-1]
    node = stage.nodes[2]
    assert disks.may_vote_now(node, configuration)
    node.crash()
    node.disk = node._new_disk()
    assert not disks.may_vote_now(node, configuration), "it is another one"
    named = msgspec.structs.replace(configuration, members=configuration.members | {2: node.disk.image.identity})
    assert disks.intact(node, named) and not disks.may_vote_now(node, named)
    node.disk.write([Persist(voter_status=VoterStatus.VOTER)])
    assert disks.may_vote_now(node, named)


def test_a_copy_of_a_disk_that_was_in_use_later_is_not_relied_on() -> None:
    """Its last start is remembered, although it has voted for nothing since: no other disk may be lost meanwhile."""
    stage = FirstStart(3)
    stage.until(lambda: all(node.replica.cluster for node in stage.nodes.values()))
    stage.run(3.0)
    disks = membership(stage)
    one, other = stage.others(stage.leader)
    copy = one.backup()
    one.crash()
    one.start()
    stage.run(3.0)
    one.crash()
    assert disks.may_be_lost(other)
    one.restore(copy, copy.image.stamp)
    assert not disks.may_be_lost(other)
    one.start()
    stage.expect("it has a vote again", lambda: disks.may_be_lost(other))
