"""Which operations all members understand, as one node knows it."""

from __future__ import annotations

from random import Random

from paxos.ballot import NOBODY
from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.limits import Limits, Timing
from paxos.messages import Heartbeat, NodeState
from paxos.operations_version import OperationsVersions
from paxos.output import Durable, Persist
from paxos.replica import Replica


class Rig:
    """Node 1 of three, which understands version 5."""

    def __init__(self, **known: int) -> None:
        self.net = Connectivity(1, (1, 2, 3), Timing())
        self.effects = Effects(1)
        durable = Durable(1, 1, operations_versions={int(name[1:]): version for name, version in known.items()})
        self.versions = OperationsVersions(5, self.net, durable, self.effects)

    def hear(self, sender: int, **said: int) -> Persist | None:
        states = [
            NodeState(int(name[1:]), (1, 1), 1, (), NOBODY, False, NOBODY, 0, True, False, operations_version=version)
            for name, version in said.items()
        ]
        self.versions.heard(sender, Heartbeat(states, {}, 0.0, {}))
        return self.effects.take().persist

    def known(self) -> list[int]:
        return [version for _, version in sorted(self.versions.of_members().items())]


def test_of_a_node_that_never_spoke_the_lowest_is_assumed() -> None:
    assert Rig().known() == [5, 1, 1]


def test_what_was_heard_is_kept_and_goes_to_the_disk_when_it_changes() -> None:
    rig = Rig()
    persist = rig.hear(2, n2=4)
    assert persist is not None and persist.operations_versions == {2: 4}
    assert rig.hear(2, n2=4) is None
    assert rig.known() == [5, 4, 1]
    assert Rig(n2=4, n3=6).known() == [5, 4, 6], "also of a node that is down when this one starts"
    assert rig.hear(2, n2=2) is not None and rig.known() == [5, 2, 1], "it went back to an older release"


def test_only_its_own_word_counts_of_a_node_that_is_heard() -> None:
    rig = Rig(n3=4)
    rig.net.hears = frozenset((2, 3))
    assert rig.hear(2, n3=1) is None and rig.known() == [5, 1, 4]
    rig.net.hears = frozenset((2,))
    assert rig.hear(2, n3=3) is not None and rig.known() == [5, 1, 3]


def test_strangers_and_odd_numbers_do_no_harm() -> None:
    rig = Rig()
    assert rig.hear(2, n9=7, n1=3) is None and rig.known() == [5, 1, 1]
    rig.hear(2, n2=-(2**63), n3=2**64 - 1)
    assert rig.known() == [5, -(2**63), 2**64 - 1]


def test_replicas_tell_each_other() -> None:
    replicas = {
        pid: Replica(pid, (1, 2, 3), Durable(pid, 1), Timing(), Limits(), Random(pid), 0.0, operations_version=pid + 3)
        for pid in (1, 2)
    }
    for now in (0.0, 1.0):
        for pid, replica in replicas.items():
            replica.tick(now)
            for to, message in replica.take_output(now).send_now:
                if to in replicas:
                    replicas[to].receive(pid, message, now)
    assert [dict(replica.operations_versions()) for replica in replicas.values()] == [{1: 4, 2: 5, 3: 1}] * 2
