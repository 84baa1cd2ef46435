"""Dead nodes, cut links, slow networks: what a user sees of them."""

from __future__ import annotations

import time
from pathlib import Path

from tests.cluster.harness import PATIENCE_S, Cluster, until


def test_the_leader_fails_in_mid_query_and_a_create_elsewhere_is_decided_without_retyping(tmp_path: Path) -> None:
    with Cluster(tmp_path, llm={"provider": "fake", "delay_s": 0.5}) as cluster:
        leader = cluster.leader()
        other, another = [pid for pid in cluster.pids if pid != leader][:2]
        cluster.nodes[other].ok("create c1")
        cluster.nodes[other].ok("query c1 What is Paxos?")
        cluster.network.ok(f"failNode {leader}")
        began = time.monotonic()
        cluster.nodes[another].ok("create c2")
        print(f"answered {1000 * (time.monotonic() - began):.0f} ms after the leader's death was reported")
        cluster.nodes[leader].popen.wait(PATIENCE_S)
        cluster.nodes[other].wait(lambda e: e["event"] == "candidate" and e["have"] == 4)
        cluster.start([leader])
        cluster.nodes[other].wait(lambda e: e["event"] == "candidate" and e["have"] == 5)
        cluster.nodes[leader].ok(f"choose c1 {leader}")
        assert cluster.nodes[another].read("view c1")["turns"][0]["chosen"] == leader


def test_two_nodes_down_everything_works_three_down_commands_wait_and_go_through_after_one_comes_back(
    cluster: Cluster,
) -> None:
    for pid in (4, 5):
        cluster.network.ok(f"failNode {pid}")
    cluster.leader(among=(1, 2, 3))
    cluster.nodes[1].ok("create c1")
    cluster.nodes[2].ok("query c1 Still there?")
    cluster.nodes[3].wait(lambda e: e["event"] == "candidate" and e["have"] == 3)
    cluster.nodes[3].ok("choose c1 2")
    cluster.converged(among=(1, 2, 3))
    cluster.network.ok("failNode 3")
    line = cluster.nodes[1].send("create c2")
    waiting = cluster.nodes[1].wait(lambda e: e["event"] == "waiting" and e["line"] == line)
    assert "majority" in waiting["reason"]
    stale = cluster.nodes[2].ok("view c1")
    assert stale["stale"] and stale["turns"][0]["chosen"] == 2
    fixed = cluster.network.ok("fixNode 4")
    assert fixed["ok"]
    assert cluster.nodes[1].result(line)["ok"]
    cluster.nodes[2].read("view c2")


def test_a_node_started_by_hand_takes_the_place_of_one_in_the_background(cluster: Cluster) -> None:
    cluster.network.ok("failNode 3")
    cluster.network.ok("fixNode 3")
    cluster.start([3])
    cluster.nodes[3].ok("create c1")
    assert "c1" in str(cluster.nodes[1].read("viewall"))


def test_a_leader_cut_off_from_two_followers_goes_on_or_hands_over(cluster: Cluster) -> None:
    leader = cluster.leader()
    cut = [pid for pid in cluster.pids if pid != leader][:2]
    for pid in cut:
        cluster.network.ok(f"failLink {leader} {pid}")
    for pid in cluster.pids:
        cluster.nodes[pid].ok(f"create from-{pid}")
    cluster.converged()


def test_a_node_cut_off_from_the_leader_alone_does_not_notice(calm_cluster: Cluster) -> None:
    cluster = calm_cluster
    leader = cluster.leader()
    ballot = cluster.status(leader)["ballot"][:2]
    lonely = next(pid for pid in cluster.pids if pid != leader)
    cluster.network.ok(f"failLink {leader} {lonely}")
    for number in range(20):
        cluster.nodes[lonely].ok(f"create c{number}")
        assert not cluster.nodes[lonely].ok(f"view c{number}")["stale"]
    assert cluster.leader() == leader
    assert cluster.status(leader)["ballot"][:2] == ballot


def test_an_isolated_leader_is_replaced_and_comes_back_as_a_follower_with_nothing_lost(calm_cluster: Cluster) -> None:
    cluster = calm_cluster
    leader = cluster.leader()
    others = [pid for pid in cluster.pids if pid != leader]
    for pid in others:
        cluster.network.ok(f"failLink {leader} {pid}")
    pending = cluster.nodes[leader].send("create written-in-isolation")
    cluster.nodes[others[0]].ok("create c1")
    cluster.nodes[leader].wait(lambda e: e["event"] == "waiting" and e["line"] == pending)
    for pid in others:
        cluster.network.ok(f"fixLink {leader} {pid}")
    assert cluster.nodes[leader].result(pending)["ok"]
    cluster.converged()
    assert cluster.leader() != leader


def test_the_orchestrator_is_killed_and_restarted_under_load(cluster: Cluster) -> None:
    lines = {pid: node.send(*(f"create r{pid}-{n}" for n in range(300))) for pid, node in cluster.nodes.items()}
    cluster.nodes[1].wait(lambda e: e["event"] == "result" and e["command"] == "create")
    cluster.network.kill()
    cluster.start_network()
    for pid, line in lines.items():
        assert cluster.nodes[pid].result(line)["ok"]
    assert len(cluster.nodes[2].read("viewall")["conversations"]) == 1500


def test_with_three_seconds_of_delay_the_leader_stays_and_commands_work(cluster: Cluster) -> None:
    cluster.nodes[1].ok("create before")
    leader = cluster.leader()
    ballot = cluster.status(leader)["ballot"][:2]
    cluster.network.ok("delay 3000")
    for pid in (leader, leader % 5 + 1):
        cluster.nodes[pid].ok(f"create slow-{pid}", within=90)
    # Leaderships only grow; a node that does not hear of the leader for a moment shows none.
    until(lambda: {tuple(cluster.status(pid)["ballot"][:2]) for pid in cluster.pids} == {tuple(ballot)})
    cluster.network.ok("delay 0")
    cluster.converged(within=60)


def test_lost_disks_vote_again_by_themselves(cluster: Cluster) -> None:
    """One after the other, a majority of all disks is lost."""
    cluster.nodes[1].ok("create c1")
    cluster.converged()
    for lost in (5, 4, 3):
        cluster.nodes[lost].kill()
        for path in cluster.folder.glob(f"data/node-{lost}.db*"):
            path.unlink()
        cluster.start([lost])
        cluster.nodes[lost].wait(lambda e: e["event"] == "learner")
        cluster.nodes[lost].read("view c1")
        cluster.nodes[lost].ok(f"create lost-{lost}")
        until(lambda lost=lost: cluster.status(lost)["role"] != "learner")  # type: ignore[misc]
        cluster.converged()
    for killed in (1, 2):
        cluster.nodes[killed].kill()
    cluster.nodes[3].ok("create by-new-disks-alone", within=60)
