"""The results as a Markdown table that is also readable in a terminal."""

from __future__ import annotations

from pathlib import Path

from bench.results import Results, Spread

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NAMES = {
    "leader/1": "one in flight, leader", "follower/1": "one in flight, follower", "leader/256": "256 in flight",
    "leader/1024": "1,024 in flight", "leader/4096": "4,096 in flight", "spread/1025": "1,025 spread over five nodes",
    "1/1": "round trip to a majority, one frame each", "1/1024": "1,024 in flight, one frame each",
    "64/4096": "4,096 in flight, 64 per frame",
}
"""Of the cases of load."""
STARTUP = {
    "prompt_s": ("`node.py` to its prompt, s", "0.4"),
    "empty_mb": ("an empty node's memory, MB", "60"),
    "first_command_s": ("`./run.sh` to the first accepted command, s", "2"),
    "slowest_key_ms": ("the slowest key echoed while 200 answers of 20 KB arrive, ms", "50"),
}
"""(name, what is wanted)."""


def table(results: Results) -> str:
    lines = _heading(results)
    if results.load:
        lines += ["", "| load | system | operations/s | p50 ms | p99 ms | CPU, cores | us CPU/operation | to etcd |",
                  "|---|---|---|---|---|---|---|---|"]
        lines += [_load_row(results, case, system) for case in NAMES
                  for system, cases in results.load.items() if case in cases]
    if results.outages:
        lines += ["", "| unavailability after | seconds | runs |", "|---|---|---|"]
        lines += [f"| {name} | {_spread(outage.gap_s, '.3f')} | {outage.gap_s.count} |"
                  for name, outage in results.outages.items()]
    if rest := _rest(results):
        lines += ["", "| other measurements | result | target |", "|---|---|---|", *rest]
    return "\n".join(lines)


def _heading(results: Results) -> list[str]:
    machine, noise = results.machine, results.noise
    lines = [
        f"{machine.cpu}, {machine.cores} cores; {machine.system}; Python {machine.python}, uvloop {machine.uvloop}, "
        f"msgspec {machine.msgspec}, SQLite {machine.sqlite}; PySyncObj {machine.pysyncobj}, etcd "
        f"{machine.etcd or 'not installed'}; fdatasync {machine.fdatasync_ms:.2f} ms.",
        "",
        f"Median [min .. max] of {results.rounds} rounds of {results.seconds:g} s ({results.kind} run).",
    ]
    if noise is not None:
        lines[-1] += (
            f" Noise: at some of {noise.looks} moments a fixed work was {noise.spread:.0%} slower than at the best "
            f"one; {noise.steal_share:.2f} cores were stolen by other machines; load average "
            f"{noise.load_average:.1f} at the end."
        )
    return lines


def _load_row(results: Results, case: str, system: str) -> str:
    found = results.load[system][case]
    peer = results.load.get("etcd", {}).get(case)
    ratio = f"{found.rate.median / peer.rate.median:.2f}x" if peer else ""
    return (
        f"| {NAMES[case]} | {system} | {_spread(found.rate, ',.0f')} | {_spread(found.p50_ms, '.2f')} | "
        f"{_spread(found.p99_ms, '.2f')} | {found.cpu:.2f} | {found.us_per_operation:.0f} | {ratio} |"
        + (f" {found.errors} errors" if found.errors else "")
    )


def _rest(results: Results) -> list[str]:
    lines: list[str] = []
    if (catch_up := results.catch_up) is not None:
        lines += [
            f"| a node that missed {catch_up.missed:,} operations is level | {catch_up.level_s:.2f} s | 3 s |",
            f"| the others' throughput meanwhile | {catch_up.rate_during:,.0f}/s, before {catch_up.rate_before:,.0f}/s "
            "| -10 % |",
        ]
    if (restart := results.restart) is not None:
        lines.append(f"| a restart with {restart.operations:,} operations answers `view` | {restart.view_s:.2f} s "
                     "| 1 s |")
    if (weight := results.weight) is not None:
        lines.append(f"| then, for {weight.text_mb:.0f} MB of text: disk, memory | {weight.disk_mb:.0f} MB, "
                     f"{weight.memory_mb:.0f} MB | 3x the text |")
    lines += [f"| {name} | {_spread(results.startup[key], '.2f')} | {wanted} |"
              for key, (name, wanted) in STARTUP.items() if key in results.startup]
    if results.simulator_runs_a_minute is not None:
        lines.append(f"| simulator, runs per minute | {results.simulator_runs_a_minute:,.0f} | 2,000 |")
    if results.relay:
        ours, bare = results.relay["ours"], results.relay["bare"]
        for name, mine, least in (("a second", ours.frames, bare.frames),
                                  ("for a second of its own time", ours.own, bare.own)):
            lines.append(f"| relay, frames {name} | {mine:,.0f} of a bare one's {least:,.0f}: {mine / least:.0%} "
                         "| 60 % |")
    for conversations, marks in results.growth.items():
        lines += [
            f"| {int(conversations):,} conversations, {mark.operations:,} operations | {mark.rate:,.0f}/s, "
            f"{mark.us_per_operation:.0f} us CPU; {mark.text_mb:.0f} MB of text: disk {mark.disk_mb:.0f} MB, "
            f"memory {mark.memory_mb:.0f} MB | flat; 3x the text |" for mark in marks
        ]
    return lines


def _spread(values: Spread, form: str) -> str:
    median = format(values.median, form)
    return f"{median} [{values.least:{form}} .. {values.most:{form}}]" if values.count > 1 else median


def publish(text: str, document: Path) -> None:
    """Inserts the table at its place in the document."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
