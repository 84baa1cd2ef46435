"""The operator's `status` as data; console/status_table.py draws it."""

from __future__ import annotations

from collections.abc import Iterable

from console import Result
from net.relay.faults import ALL, Faults, Link
from net.relay.faults.delay import Delay
from net.relay.faults.duplicate import Duplicate
from net.relay.faults.loss import Loss
from net.relay.faults.reorder import Reorder
from net.relay.relay import Relay
from orchestrator.rates import Rates


def network_status(nodes: Iterable[int], relay: Relay, rates: Rates, paused: Iterable[int]) -> Result:
    """Everything that is known of nodes and links, ready for JSON. Delay, loss and the rest are those of every link
    that `own` does not list."""
    faults = relay.faults
    return {
        "nodes": [node_status(node, relay, rates, node in paused) for node in nodes],
        "links": [list(link) for link in faults.cut],
        **_quality(faults),
        "own": _own(faults),
    }


def _own(faults: Faults) -> list[Result]:
    return [{"from": src, "to": dst, **_quality(faults, (src, dst))} for src, dst in faults.different]


def _quality(faults: Faults, link: Link = ALL) -> Result:
    delay = faults.get(Delay, link)
    return {
        "delay_ms": delay.delay_ms, "jitter_ms": delay.jitter_ms,
        "loss_percent": faults.get(Loss, link).loss_percent,
        "duplicate_percent": faults.get(Duplicate, link).duplicate_percent,
        "reorder_percent": faults.get(Reorder, link).reorder_percent,
    }


def node_status(node: int, relay: Relay, rates: Rates, paused: bool) -> Result:
    """Counters are the relay's: `in` is from the node. The rest is what a connected node last said of itself."""
    report = relay.report_of(node)
    traffic = relay.traffic(node)
    rate = rates.of(node)
    return {
        "node": node,
        "up": relay.is_up(node),
        "paused": paused,
        "role": report.role if report else None,
        "leader": report.leader if report else None,
        "ballot": list(report.ballot) if report else None,
        "decided": report.decided if report else None,
        "applied": report.applied if report else None,
        "queued": report.queued if report else None,
        "digest": report.digest if report else None,
        "frames_in": traffic.frames_in,
        "frames_out": traffic.frames_out,
        "bytes_in": traffic.bytes_in,
        "bytes_out": traffic.bytes_out,
        "dropped": traffic.dropped,
        "frames_in_per_s": round(rate.frames_in, 1),
        "frames_out_per_s": round(rate.frames_out, 1),
        "bytes_in_per_s": round(rate.bytes_in),
        "bytes_out_per_s": round(rate.bytes_out),
    }
