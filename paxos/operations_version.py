"""Which operations do all members understand? A number that grows with every new kind; what it stands for is not known
here.

Each node says its own in what it tells of itself. What was last heard of a member counts while it is down, too, and is
on disk; of one that has never said anything the lowest is assumed. A member that goes back to an older version while
nobody hears it stops at the first operation that it does not know (see engine/driver.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.messages import Heartbeat
from paxos.output import Durable

LOWEST = 1
"""Of nodes that say nothing."""


class OperationsVersions:
    def __init__(self, own: int, net: Connectivity, durable: Durable, effects: Effects) -> None:
        self.own = own
        self._net = net
        self._effects = effects
        self._known = dict(durable.operations_versions)

    def heard(self, sender: int, message: Heartbeat) -> None:
        """Takes in what a heartbeat says. Of a node that is heard directly, only its own word counts: others may be too
        old to pass it on."""
        net, changed = self._net, False
        for state in message.states:
            counts = state.pid == sender or state.pid not in net.hears
            if counts and state.pid in net.peers and state.operations_version != self._known.get(state.pid, LOWEST):
                self._known[state.pid] = state.operations_version
                changed = True
        if changed:
            self._effects.to_persist().operations_versions = dict(self._known)

    def of_members(self) -> Mapping[int, int]:
        """By member, as far as is known here."""
        known = {member: self._known.get(member, LOWEST) for member in self._net.members}
        return known | {self._net.pid: self.own}

    def living_speak(self) -> bool:
        """True if no live member is known to run release 0.1.0, or may do so."""
        known = self.of_members()
        return all(known.get(node, self.own) > LOWEST for node in self._net.fresh)

    def all_speak(self) -> bool:
        """True if no member is known to run release 0.1.0, or may do so: it has never said a version."""
        return all(version > LOWEST for version in self.of_members().values())
