"""Exactly once, in the order typed, and in the same order everywhere."""

from __future__ import annotations

from tests.cluster.harness import Cluster


def order(cluster: Cluster, pid: int) -> list[str]:
    return [conversation["context"] for conversation in cluster.nodes[pid].read("viewall")["conversations"]]


def test_100_creates_at_once_at_each_of_five_nodes(cluster: Cluster) -> None:
    lines = {
        pid: node.send(*(f"create n{pid}-{number:03}" for number in range(100)))
        for pid, node in cluster.nodes.items()
    }
    for pid, line in lines.items():
        cluster.nodes[pid].result(line)
    for pid, node in cluster.nodes.items():
        results = [event for event in node.events if event["event"] == "result" and event["command"] == "create"]
        assert [event["ok"] for event in results] == [True] * 100, pid
    orders = [order(cluster, pid) for pid in cluster.pids]
    assert orders == orders[:1] * 5
    assert len(orders[0]) == len(set(orders[0])) == 500
    for pid in cluster.pids:
        mine = [name for name in orders[0] if name.startswith(f"n{pid}-")]
        assert mine == sorted(mine)


def test_kill_9_of_all_six_in_the_middle_of_200_creates_loses_nothing_acknowledged(cluster: Cluster) -> None:
    for pid, node in cluster.nodes.items():
        node.send(*(f"create k{pid}-{number}" for number in range(40)))
    cluster.nodes[3].wait(lambda e: e["event"] == "result" and e["command"] == "create" and e["context"] == "k3-5")
    for process in [*cluster.nodes.values(), cluster.network]:
        process.popen.kill()
    acknowledged = set()
    for process in [*cluster.nodes.values(), cluster.network]:
        process.wait(lambda e: e["event"] == "end of output")
        acknowledged |= {
            event["context"] for event in process.events
            if event["event"] == "result" and event["command"] == "create" and event["ok"]
        }
    assert len(acknowledged) >= 6
    cluster.start_network()
    cluster.start(cluster.pids)
    cluster.leader()
    orders = [order(cluster, pid) for pid in cluster.pids]
    assert orders == orders[:1] * 5
    assert acknowledged <= set(orders[0])
    assert len(orders[0]) == len(set(orders[0]))
