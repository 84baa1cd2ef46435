"""GET /metrics at the orchestrator: what the relay did since its start, and the faults in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from typing import get_args

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from net.relay.counts import Cause
from net.relay.faults import KINDS
from orchestrator.service import Orchestrator
from web.metrics import counters, exposition, gauge, gauges


class OperatorMetrics(Collector):
    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._registry = CollectorRegistry()
        self._registry.register(self)

    async def get(self, request: web.Request) -> web.Response:
        return exposition(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield from self._of_nodes()
        yield from self._of_messages()
        yield from self._of_faults()

    def _of_nodes(self) -> Iterator[Metric]:
        relay = self._orchestrator.relay
        traffic = {str(node): relay.traffic(node) for node in relay.nodes}
        yield gauge("relay_members", "Members of the cluster, as far as the relay knows.", len(relay.members))
        yield gauge("relay_connected_nodes", "Nodes that are connected.", sum(map(relay.is_up, relay.nodes)))
        yield counters(
            "relay_received_messages", "Messages from each node.", "node",
            {node: each.frames_in for node, each in traffic.items()},
        )
        yield counters(
            "relay_received_bytes", "Bytes from each node.", "node",
            {node: each.bytes_in for node, each in traffic.items()},
        )
        yield counters(
            "relay_sent_messages", "Messages to each node.", "node",
            {node: each.frames_out for node, each in traffic.items()},
        )
        yield counters(
            "relay_sent_bytes", "Bytes to each node.", "node",
            {node: each.bytes_out for node, each in traffic.items()},
        )

    def _of_messages(self) -> Iterator[Metric]:
        relay, faults = self._orchestrator.relay, self._orchestrator.faults
        passed = relay.counts.by_kind
        lost = Counter(dict.fromkeys((*map(_name, KINDS), *get_args(Cause)), 0))
        lost.update(relay.counts.lost)
        lost.update(faults.dropped)
        yield counters(
            "relay_messages", "Messages that were passed on, by the kind of their frames.", "kind",
            {kind: messages for kind, (messages, _) in passed.items()},
        )
        yield counters(
            "relay_bytes", "Bytes that were passed on, by the kind of their frames.", "kind",
            {kind: size for kind, (_, size) in passed.items()},
        )
        yield counters(
            "relay_dropped_messages", "Messages, or copies of some, that were lost, by the fault or whatever else lost "
            "them.", "cause", lost,
        )
        held = relay.holding.messages
        yield gauge("relay_held_messages", "Messages that wait for the operator.", len(held))
        yield gauge("relay_delayed_bytes", "Bytes that are delayed now.", relay.delayed_bytes)

    def _of_faults(self) -> Iterator[Metric]:
        """Links count once in each direction."""
        faults, links = self._orchestrator.faults, list(permutations(self._orchestrator.relay.nodes, 2))
        affected = dict.fromkeys(map(_name, KINDS), 0)
        faulty = 0
        for link in links:
            in_force = [fault for fault in faults.in_force(link) if fault != type(fault)()]
            faulty += bool(in_force)
            for fault in in_force:
                affected[_name(type(fault))] += 1
        yield gauge("relay_links", "Links between nodes, each direction by itself.", len(links))
        yield gauge("relay_faulty_links", "Links with faults.", faulty)
        yield gauges("relay_links_with_fault", "Links with each kind of fault.", "fault", affected)


def _name(kind: type) -> str:
    return kind.__name__.lower()
