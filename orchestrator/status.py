"""What is known of the network and its nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from api.lost_quorum import no_quorum
from api.operator_results import LinkOverview, NetworkStatusResult, NodeOverview, RunningTimer
from net.relay.relay import Relay
from orchestrator.link_quality import status_fields
from orchestrator.rates import Rates

SURVIVORS = "a node's"
"""Whose data may be rescued."""


def network_status(
    nodes: Iterable[int], relay: Relay, rates: Rates, paused: Iterable[int], seed: int | None,
    timers: list[RunningTimer],
) -> NetworkStatusResult:
    faults, members = relay.faults, {*relay.members}
    lost, voters = lost_voters(relay)
    return NetworkStatusResult(
        nodes=[_node_status(node, relay, rates, node in paused, node in members) for node in nodes],
        links=faults.cut,
        own=[LinkOverview(src=src, dst=dst, **status_fields(faults, (src, dst))) for src, dst in faults.different],
        seed=seed,
        timers=timers,
        lost=lost or UNSET,
        notice=no_quorum(lost, voters, SURVIVORS) if lost else UNSET,
        **status_fields(faults),
    )


def lost_voters(relay: Relay) -> tuple[list[int], int]:
    """Those that have lost their disks, if no quorum can form without them, and the number of all voters; as the node
    says that knows most of it."""
    reports = [report for report in map(relay.report_of, relay.nodes) if report is not None and report.lost]
    if not reports:
        return [], 0
    report = max(reports, key=lambda each: (each.configuration, len(each.lost)))
    return report.lost, len(report.members)


def _node_status(node: int, relay: Relay, rates: Rates, paused: bool, is_member: bool) -> NodeOverview:
    traffic = relay.traffic(node)
    rate = rates.of(node)
    return NodeOverview(
        node=node,
        up=relay.is_up(node),
        paused=paused,
        frames_in=traffic.frames_in,
        frames_out=traffic.frames_out,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        dropped=traffic.dropped,
        frames_in_per_s=round(rate.frames_in, 1),
        frames_out_per_s=round(rate.frames_out, 1),
        bytes_in_per_s=round(rate.bytes_in),
        bytes_out_per_s=round(rate.bytes_out),
        asking=_asking(node, relay) or UNSET,
        member=UNSET if is_member else False,
        **_reported(node, relay),
    )


def _asking(node: int, relay: Relay) -> int:
    report = relay.report_of(node)
    return 0 if report is None else report.asking


def _reported(node: int, relay: Relay) -> dict[str, Any]:
    report = relay.report_of(node)
    if report is None:
        return {}
    return {
        "role": report.role, "leader": report.leader, "ballot": report.ballot, "decided": report.decided,
        "applied": report.applied, "queued": report.queued, "digest": report.digest,
    }
