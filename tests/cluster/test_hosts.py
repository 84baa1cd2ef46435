"""A cluster on six hosts: cables are pulled, which closes no connection, and one is thin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.hosts import NETWORK, Hosts, SpreadCluster, missing

WHY_NOT = missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
TEXT = "x" * 20_000


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts(NETWORK) as made:
        yield made


def test_pulled_cables_cost_only_who_is_behind_them(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> None:
    with SpreadCluster(tmp_path_factory.mktemp("hosts"), hosts) as cluster:
        leader = cluster.leader()
        cluster.nodes[leader].ok("create c1")
        hosts.cut(leader)
        others = [node for node in cluster.pids if node != leader]
        found = cluster.leader(among=others, within=60)
        assert found != leader
        cluster.nodes[found].ok("query c1 Who is there?")
        waiting = cluster.nodes[leader].send("create c2")
        cluster.nodes[leader].wait(lambda event: event["event"] == "waiting", within=60)
        hosts.mend(leader)
        assert cluster.nodes[leader].result(waiting, within=60)["ok"]
        cluster.converged(within=60)

        hosts.cut(NETWORK)
        for node in cluster.nodes.values():
            node.wait(lambda event: event["event"] == "disconnected", within=60)
        hosts.mend(NETWORK)
        cluster.leader(within=60)
        thin = others[0]
        hosts.limit(thin, 500)
        for number in range(20):
            cluster.nodes[found].ok(f"create d{number}")
            cluster.nodes[found].ok(f"query d{number} {TEXT}")
        cluster.converged(within=60)
