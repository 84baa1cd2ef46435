"""Members come and go while the cluster runs, with real processes."""

from __future__ import annotations

from tests.cluster.harness import Cluster, until


def members(cluster: Cluster, pid: int) -> set[int]:
    return {member["node"] for member in cluster.nodes[pid].ok("members")["members"]}


def test_a_removed_node_leaves_and_comes_back_when_it_is_added(cluster: Cluster) -> None:
    cluster.nodes[1].ok("create before")
    cluster.converged()
    founded = cluster.nodes[1].ok("members")["cluster"]
    cluster.nodes[2].ok("members remove 5", within=60)
    assert cluster.nodes[5].popen.wait(30) == 0
    assert members(cluster, 1) == {1, 2, 3, 4}
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
