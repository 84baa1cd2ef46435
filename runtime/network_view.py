"""The operator's `status` and the relay's events for humans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from console import Command, Paper, Result
from net.faults import Link


def show(command: Command, result: Result, paper: Paper) -> str | None:
    """`status` for humans; everything else is shown as its `text`."""
    if command.name != "status" or not result.get("ok"):
        return None
    head = ("node", "", "role", "leader", "ballot", "decided", "applied", "queued", "digest", "in", "out", "dropped")
    rows = [
        (
            node["node"], "up" if node["up"] else "down", *(_cell(node[key]) for key in ("role", "leader")),
            "-" if node["ballot"] is None else "<" + ",".join(map(str, node["ballot"])) + ">",
            *(_cell(node[key]) for key in ("decided", "applied", "queued")), _cell(node["digest"])[:8],
            *(node[key] for key in ("frames_in", "frames_out", "dropped")),
        )
        for node in result["nodes"]
    ]
    cut = cut_words([(a, b) for a, b in result["links"]])
    settings = (
        f"delay {result['delay_ms']:g} ms, jitter {result['jitter_ms']:g} ms, loss {result['loss_percent']:g} %, "
        f"duplicate {result['duplicate_percent']:g} %, reorder {result['reorder_percent']:g} %"
    )
    return "\n".join([paper.table(head, rows), paper.text(f"failed links: {cut or 'none'}"), paper.text(settings)])


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def event_text(event: Mapping[str, object]) -> str | None:
    """One line for an event of the relay; None for one that humans need not see."""
    match event["event"]:
        case "node_up":
            return f"node {event['node']} is up"
        case "node_down":
            return f"node {event['node']} is down"
        case "refused":
            address = event.get("address")
            return f"refused{f' ({address})' if address else ''}: {event['reason']}"
    return None


def cut_words(cut: Iterable[Link]) -> str:
    """`1 <-> 2` for a link that is cut in both directions, `1 -> 2` for one."""
    cut = sorted(cut)
    both = [f"{a} <-> {b}" for a, b in cut if a < b and (b, a) in cut]
    one = [f"{a} -> {b}" for a, b in cut if (b, a) not in cut]
    return ", ".join(both + one)
