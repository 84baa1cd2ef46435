"""Members come and go while the cluster runs, with real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster, Event, until


def members(cluster: Cluster, pid: int) -> set[int]:
    return {member["node"] for member in cluster.nodes[pid].ok("members")["members"]}


def voting(cluster: Cluster, pid: int) -> set[int]:
    """Nobody, before the node has heard of the founding."""
    result = cluster.nodes[pid].do("members")
    if not result["ok"]:
        assert "not founded yet" in result["error"], result
        return set()
    return {member["node"] for member in result["members"] if member["votes"]}


def test_a_removed_node_leaves_and_comes_back_when_it_is_added(cluster: Cluster) -> None:
    cluster.nodes[1].ok("create before")
    cluster.converged()
    founded = cluster.nodes[1].ok("members")["cluster"]
    cluster.nodes[2].ok("members remove 5", within=60)
    assert cluster.nodes[5].popen.wait(30) == 0
    until(lambda: members(cluster, 1) == {1, 2, 3, 4})
    cluster.nodes[4].kill()
    cluster.nodes[1].ok("create three-of-four", within=60)
    for path in cluster.folder.glob("data/node-5.db*"):
        path.unlink()  # its old disk would say again that it was removed
    cluster.start([4, 5])
    cluster.nodes[1].ok("members add 5", within=60)
    until(lambda: members(cluster, 5) == {1, 2, 3, 4, 5})
    assert cluster.nodes[5].ok("members")["cluster"] == founded
    cluster.nodes[5].ok("create after", within=60)
    cluster.converged()


def test_the_operator_adds_a_node_that_no_file_lists_and_removes_one_that_it_lists(cluster: Cluster) -> None:
    cluster.nodes[1].ok("create before", within=60)
    added = cluster.network.ok("addNode 6", within=90)
    assert added["members"] == [1, 2, 3, 4, 5, 6] and "in the background" in added["text"]
    status = {node["node"]: node for node in cluster.network.ok("status")["nodes"]}
    assert list(status) == [1, 2, 3, 4, 5, 6] and status[6]["up"] and "member" not in status[6]
    assert "already" in cluster.network.do("addNode 6")["error"]
    assert cluster.network.ok("node 6: create from-six", within=60)["context"] == "from-six"
    cluster.network.ok("failLink 6 1")
    cluster.network.ok("failNode 6")
    cluster.network.ok("fixNode 6", within=60)

    removed = cluster.network.ok("removeNode 2", within=90)
    assert removed["members"] == [1, 3, 4, 5, 6] and removed["text"].startswith("node 2 is no member any more; ")
    assert cluster.nodes[2].popen.wait(30) == 0
    assert [node["node"] for node in cluster.network.ok("status")["nodes"]] == [1, 3, 4, 5, 6]
    assert "there is no node 2" in cluster.network.do("fixNode 2")["error"]
    cluster.network.ok("reset", within=60)
    assert [node["node"] for node in cluster.network.ok("status")["nodes"]] == [1, 3, 4, 5, 6]

    added = cluster.network.ok("addNode 2", within=90)  # with the disk that it left with
    assert added["members"] == [1, 2, 3, 4, 5, 6]
    cluster.network.ok("node 2: create from-two", within=60)
    cluster.converged(among=[1, 3, 4, 5])


def test_the_operator_replaces_a_disk(cluster: Cluster) -> None:
    cluster.nodes[1].ok("create before", within=60)
    cluster.converged()
    assert "up" in cluster.network.do("replaceNode 3")["error"]
    cluster.nodes[3].kill()
    for path in cluster.folder.glob("data/node-3.db*"):
        path.unlink()
    replaced = cluster.network.ok("replaceNode 3", within=90)
    assert replaced["members"] == [1, 2, 3, 4, 5]
    until(lambda: cluster.network.ok("node 3: status")["standing"] == "voter", 60)
    cluster.network.ok("node 3: create from-three", within=60)


def edit_nodes(cluster: Cluster, pids: list[int]) -> None:
    cluster.config.write_text(json.dumps(dict(cluster.settings, nodes=[{"id": pid} for pid in pids])))


def tells_members(event: Event) -> bool:
    return bool(event["event"] == "members")


def conversations(cluster: Cluster, pid: int) -> set[str]:
    return {each["context"] for each in cluster.nodes[pid].read("viewall")["conversations"]}


def unanswered(cluster: Cluster, pid: int, command: str, seconds: float = 3.0) -> int:
    """Types a command that must not be answered now; returns its line."""
    line = cluster.nodes[pid].send(command)
    with pytest.raises(TimeoutError):
        cluster.nodes[pid].result(line, seconds)
    return line


def test_five_nodes_edited_to_three_while_all_are_stopped_are_five(cluster: Cluster) -> None:
    cluster.nodes[1].ok("create base", within=60)
    until(lambda: voting(cluster, 4) == {1, 2, 3, 4, 5})
    cluster.converged()
    cluster.network.ok("partition 1,2|3,4,5")
    cluster.leader(among=[3, 4, 5])
    cluster.nodes[4].ok("create precious", within=60)
    for process in (*cluster.nodes.values(), cluster.network):
        process.kill()
    edit_nodes(cluster, [1, 2, 3])
    cluster.start_network()
    told = cluster.network.wait(tells_members)
    assert told["members"] == [1, 2, 3, 4, 5] and told["configured"] == [1, 2, 3]
    cluster.start([1, 2])
    assert cluster.nodes[1].wait(tells_members)["members"] == [1, 2, 3, 4, 5]
    line = unanswered(cluster, 1, "create other")
    cluster.start([4])
    assert "node 4 has the common settings" in cluster.nodes[4].wait(tells_members)["text"]
    assert cluster.nodes[1].result(line, 60)["ok"]
    assert conversations(cluster, 2) == {"base", "precious", "other"}


def test_three_nodes_edited_to_five_one_by_one_are_three_until_nodes_are_added(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        cluster.nodes[1].ok("create base", within=60)
        until(lambda: voting(cluster, 3) == {1, 2, 3})
        cluster.converged()
        edit_nodes(cluster, [1, 2, 3, 4, 5])
        for pid in (1, 2):
            cluster.nodes[pid].kill()
            cluster.start([pid])
            cluster.leader()
        cluster.network.kill()
        cluster.start_network()
        cluster.start([4, 5])
        told = cluster.nodes[4].wait(tells_members)["text"]
        assert "node 4 is listed in config.json, but no member" in told and "addNode 4 at the network" in told
        cluster.nodes[5].wait(tells_members)
        cluster.leader()
        cluster.network.ok("partition 1,4,5|2,3")
        cluster.leader(among=[2, 3])
        line = unanswered(cluster, 1, "create left")
        cluster.nodes[3].ok("create right", within=60)
        cluster.network.ok("heal")
        assert cluster.nodes[1].result(line, 60)["ok"]
        assert cluster.network.ok("addNode 4", within=90)["members"] == [1, 2, 3, 4]
        assert cluster.network.ok("addNode 5", within=90)["members"] == [1, 2, 3, 4, 5]
        assert conversations(cluster, 5) == {"base", "left", "right"}
        cluster.converged()


def test_an_unlisted_node_is_not_started_by_mistake(cluster: Cluster) -> None:
    """Only a member, one with a disk, or one that says that it is to join."""
    mistaken = cluster._process(["node.py", "6"], "mistaken")
    assert mistaken.popen.wait(30) == 2 and "there is no node 6" in mistaken.log.read_text()
    cluster.nodes[1].ok("create c1", within=60)
    waiting = cluster._process(["node.py", "6", "--join"], "waiting")
    assert "addNode 6 makes it one" in waiting.wait(lambda event: bool(event["event"] == "refused"))["reason"]
    added = cluster.network.ok("addNode 6", within=90)
    assert added["text"] == "node 6 is a member now; the members are 1, 2, 3, 4, 5, 6", "it is not started twice"
    assert waiting.read("view c1")["context"] == "c1"
