"""A node that was down for a long time catches up by a snapshot, and no node waits for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.cluster.harness import Cluster, Event


def test_5000_operations_missed_are_caught_up_through_a_snapshot(cluster: Cluster) -> None:
    leader = cluster.leader()
    away = next(pid for pid in cluster.pids if pid != leader)
    cluster.network.ok(f"failNode {away}")
    others = [pid for pid in cluster.pids if pid != away]
    lines = {pid: cluster.nodes[pid].send(*(f"create m{pid}-{n}" for n in range(1250))) for pid in others}
    for pid, line in lines.items():
        assert cluster.nodes[pid].result(line)["ok"]
    began = time.monotonic()
    cluster.start([away])
    cluster.converged()
    took = time.monotonic() - began
    print(f"level after {took:.2f} s, the process's start included")
    slowest = 0.0
    for number in range(20):
        asked = time.monotonic()
        cluster.nodes[leader].ok(f"create during-{number}")
        slowest = max(slowest, time.monotonic() - asked)
    print(f"slowest command meanwhile {1000 * slowest:.0f} ms")
    assert len(cluster.nodes[away].read("viewall")["conversations"]) == 5020


def memory_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def test_a_stopped_node_costs_the_others_no_memory_and_recovers(cluster: Cluster) -> None:
    leader = cluster.leader()
    stopped = next(pid for pid in cluster.pids if pid != leader)
    cluster.nodes[stopped].signal(signal.SIGSTOP)
    writer = cluster.nodes[leader]
    processes = [cluster.network, *(node for pid, node in cluster.nodes.items() if pid != stopped)]
    text = "x" * 20_000
    writer.ok("create big")
    for number in range(300):
        writer.ok(f"query big {text}")
        writer.wait(candidate_of(number + 1))
        writer.ok("cancel big")
    for process in processes:
        used = memory_mb(process.popen.pid)
        print(f"{process.arguments[:2]}: {used:.0f} MB")
        assert used < 250
    cluster.nodes[stopped].signal(signal.SIGCONT)
    cluster.converged()


def candidate_of(turn: int) -> Callable[[Event], bool]:
    return lambda e: e["event"] == "candidate" and e["context"] == "big" and e["turn"] == turn
