"""The results in words: a table in Markdown that can also be read in a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Results = dict[str, Any]

OURS = "ConsensusLLM"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NAMES = {
    "leader/1": "one in flight, leader", "follower/1": "one in flight, follower", "leader/256": "256 in flight",
    "leader/1024": "1,024 in flight", "leader/4096": "4,096 in flight", "spread/1025": "1,025 spread over five nodes",
    "1/1": "round trip to a majority, one frame each", "1/1024": "1,024 in flight, a frame each",
    "64/4096": "4,096 in flight, 64 a frame",
}


def table(results: Results) -> str:
    lines = _heading(results)
    if results["load"]:
        lines += ["", "| load | system | operations/s | p50 ms | p99 ms | CPU, cores | us CPU/operation | to etcd |",
                  "|---|---|---|---|---|---|---|---|"]
        for case, name in NAMES.items():
            lines += [_load_row(results, case, name, system) for system, cases in results["load"].items()
                      if case in cases]
    if results["outages"]:
        lines += ["", "| nobody is answered after | seconds | times |", "|---|---|---|"]
        lines += [f"| {name} | {_spread([one['gap_s'] for one in found], '.3f')} | {len(found)} |"
                  for name, found in results["outages"].items()]
    rest = _rest(results)
    if rest:
        lines += ["", "| what else | found | wanted |", "|---|---|---|", *rest]
    return "\n".join(lines)


def _heading(results: Results) -> list[str]:
    machine, noise, plan = results["machine"], results["noise"], results["plan"]
    return [
        f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}; Python {machine['python']}, uvloop "
        f"{machine['uvloop']}, msgspec {machine['msgspec']}, SQLite {machine['sqlite']}; PySyncObj "
        f"{machine['pysyncobj']}, etcd {results['etcd'] or 'not installed'}; "
        f"fdatasync {machine['fdatasync_ms']:.2f} ms.",
        "",
        f"Median [min .. max] of {plan['rounds']} rounds of {plan['seconds']:g} s ({results['kind']} run). Noise: at "
        f"some of {noise['looks']} moments a fixed work was {noise['spread']:.0%} slower than at the best one; "
        f"{noise['steal_share']:.2f} cores were stolen by other machines; load average {noise['load_average']:.1f} at "
        "the end.",
    ]


def _load_row(results: Results, case: str, name: str, system: str) -> str:
    found = results["load"][system][case]
    rates = [one["rate"] for one in found]
    cpu = statistics.median(sum(one["cpu"].values()) for one in found)
    each = statistics.median(sum(one["us_per_operation"].values()) for one in found)
    peer = results["load"].get("etcd", {}).get(case)
    ratio = f"{statistics.median(rates) / statistics.median(one['rate'] for one in peer):.2f}x" if peer else ""
    errors = sum(one["errors"] for one in found)
    return (
        f"| {name} | {system} | {_spread(rates, ',.0f')} | {_spread([one['p50_ms'] for one in found], '.2f')} | "
        f"{_spread([one['p99_ms'] for one in found], '.2f')} | {cpu:.2f} | {each:.0f} | {ratio} |"
        + (f" {errors} errors" if errors else "")
    )


def _rest(results: Results) -> list[str]:
    lines: list[str] = []
    if "catch_up" in results:
        found = results["catch_up"]
        lines.append("| a node that missed {missed:,} operations is level | {level_s:.2f} s | 3 s |".format(**found))
        lines.append("| the others' throughput meanwhile | {rate_during:,.0f}/s, before {rate_before:,.0f}/s | -10 % |"
                     .format(**found))
    if "restart" in results:
        lines.append("| a restart with {operations:,} operations answers `view` | {view_s:.2f} s | 1 s |"
                     .format(**results["restart"]))
        lines.append("| then, for {text_mb:.0f} MB of text: disk, memory | {disk_mb:.0f} MB, {memory_mb:.0f} MB "
                     "| 3x the text |".format(**results["weight"]))
    for key, name, wanted in (
        ("prompt_s", "`node.py` to its prompt, s", "0.4"), ("empty_mb", "an empty node's memory, MB", "60"),
        ("first_command_s", "`./run.sh` to the first accepted command, s", "2"),
        ("slowest_key_ms", "the slowest key echoed while 200 answers of 20 KB arrive, ms", "50"),
    ):
        if key in results:
            lines.append(f"| {name} | {_spread(results[key], '.2f')} | {wanted} |")
    if results.get("simulator_runs_a_minute"):
        lines.append(f"| simulator, runs a minute | {results['simulator_runs_a_minute']:,.0f} | 2,000 |")
    if "relay" in results:
        ours, bare = (results["relay"][name] for name in ("net/relay/relay.py", "bare"))
        for key, name in (("frames", "a second"), ("own", "for a second of its own time")):
            mine, least = (statistics.median(one[key] for one in found) for found in (ours, bare))
            share = f"{mine:,.0f} of a bare one's {least:,.0f}: {mine / least:.0%}"
            lines.append(f"| relay, frames {name} | {share} | 60 % |")
    for conversations, marks in results.get("growth", {}).items():
        lines += [
            f"| {int(conversations):,} conversations, {mark['operations']:,} operations | {mark['rate']:,.0f}/s, "
            f"{mark['us_per_operation']:.0f} us CPU; {mark['text_mb']:.0f} MB of text: disk {mark['disk_mb']:.0f} MB, "
            f"memory {mark['memory_mb']:.0f} MB | flat; 3x the text |" for mark in marks
        ]
    return lines


def _spread(values: Sequence[float], form: str) -> str:
    median = format(statistics.median(values), form)
    return f"{median} [{min(values):{form}} .. {max(values):{form}}]" if len(values) > 1 else median


def publish(text: str, document: Path) -> None:
    """Puts the table where the document has a place for it."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
