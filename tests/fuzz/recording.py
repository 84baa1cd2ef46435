"""What nodes say to each other in a real run: a simulated cluster that founds, elects, decides, catches up by its log
and by a snapshot, passes messages on, and changes its members."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from kvstore.operations import Candidate, Choose, Create, Query, StoreOperation
from paxos.ballot import Ballot
from paxos.messages import AnyMessage, Behind, Change, Fetch, Outranked, ReadReply, Reconfigure, RosterStored, Routed
from tests.simulation.disk import Disk
from tests.simulation.founding import CLUSTER as CLUSTER
from tests.simulation.world import SIM_LIMITS, Node, World

ME = 1
"""The node that targets are fed as."""


_RARE = (
    Outranked(Ballot(1, 2, 3), Ballot(2, 3, 0)), Behind(Ballot(1, 2, 3), 9), RosterStored({1: 5, 2: 6}),
    Routed(3, 1, 2, Fetch(3, 0, 0, 4)), Routed(3, 4, 2, ReadReply((5, 1), 7)), Reconfigure(Change.REMOVE, 3, 1),
)
"""Sent in few runs."""


LIMITS = msgspec.structs.replace(SIM_LIMITS, snapshot_every=6, keep=1, lag=1)


class Sent(NamedTuple):
    sender: int
    to: int
    message: AnyMessage


class _Recorder(World):
    def __init__(self) -> None:
        super().__init__(1, (1, 2, 3, 4), limits=LIMITS, members=3)
        self.recorded: list[Sent] = []

    def carry(self, sender: Node, to: int, message: AnyMessage) -> None:
        self.recorded.append(Sent(sender.pid, to, message))
        super().carry(sender, to, message)

    def say(self, pid: int, *operations: StoreOperation) -> None:
        for operation in operations:
            self.nodes[pid].submit(operation, lambda applied, outcome: None)
            self.run(0.2)
        self.nodes[pid].read(lambda: None)
        self.run(0.5)


class Recording(NamedTuple):
    sent: list[Sent]
    """In the order in which they were sent."""
    disk: Disk
    """Of node ME, at the end."""


def recorded() -> list[Sent]:
    return recording().sent


@functools.cache
def recording() -> Recording:
    world = _Recorder()
    world.start()
    world.run(3.0)
    world.say(1, Create("c1"), Query("c1", "why?"), Candidate("c1", 1, 1, "because", None), Choose("c1", 1))
    world.say(2, *(Create(f"d{number}") for number in range(3)))
    world.nodes[ME].crash()
    world.run(3.0)
    world.say(3, *(Create(f"e{number}") for number in range(10)))
    world.nodes[ME].wipe()
    world.nodes[ME].start()
    world.run(8.0)
    leader = world.nodes[ME].replica.status().leader
    assert leader is not None and leader != 1
    world.weather.cut |= {(1, leader), (leader, 1)}
    world.say(1, Create("f1"))
    world.run(4.0)
    world.weather.cut.clear()
    world.nodes[3].process.change_members(Change.ADD, 4)
    world.run(6.0)
    world.say(2, *(Create(f"g{number}") for number in range(3)))
    return Recording([*world.recorded, *(Sent(2, ME, message) for message in _RARE)], world.nodes[ME].backup())


def sample(sent: Iterable[Sent], most: int) -> list[Sent]:
    """At most so many of each kind, spread over the run."""
    kinds: dict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        inner = one.message.message if isinstance(one.message, Routed) else one.message
        kinds[f"{type(one.message).__name__} {type(inner).__name__}"].append(one)
    return [one for same in kinds.values() for one in same[:: max(1, len(same) // most)][:most]]
