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
