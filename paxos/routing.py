"""Messages to a node that may not be reachable directly travel by way of others."""

from __future__ import annotations

import msgspec

from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.messages import Routable, Routed


class Router:
    def __init__(self, net: Connectivity, effects: Effects) -> None:
        self._net = net
        self._effects = effects

    def send(self, to: int, message: Routable) -> None:
        """Directly if the links allow it (or nobody knows a way), else by way of others."""
        net = self._net
        hop = None if to == net.pid else net.next_hop(to)
        if hop is None or hop == to:
            self._effects.send(to, message)
        else:
            self._effects.send(hop, Routed(net.pid, to, len(net.everybody), message))

    def relay(self, message: Routed) -> None:
        """Passes on a message to another node, unless it has travelled too far."""
        hop = self._net.next_hop(message.target)
        if hop is not None and message.hops > 0:
            self._effects.send(hop, msgspec.structs.replace(message, hops=message.hops - 1))
