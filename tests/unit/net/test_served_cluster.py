"""Which cluster a relay serves: a majority says so, and strangers are refused in words."""

from __future__ import annotations

import msgspec

from net.control_messages import Refusal, Refused, Report
from net.relay.served_cluster import KnownCluster
from tests.unit.net.net_tools import Node, Operator, Raw, hello, joined, run, until

OURS, THEIRS = 0x4000000000000001, 0x4000000000000002
REPORT = Report("follower", 1, (1, 1, 1), 1, 1, 0, "")


def report(cluster_id: int, configuration: int = 1, members: tuple[int, ...] = (1, 2, 3)) -> Report:
    return msgspec.structs.replace(
        REPORT, cluster_id=cluster_id, configuration=configuration, members=list(members)
    )


async def refused(operator: Operator, number: int, cluster_id: int) -> Refused:
    raw = await Raw.connect(operator.port)
    await raw.hear()
    raw.control(number, hello(number, cluster_id=cluster_id))
    said = await raw.hear()
    assert isinstance(said, Refused)
    return said


def test_a_node_of_another_cluster_is_refused_in_words_on_both_sides() -> None:
    async def main() -> None:
        async with Operator(known=KnownCluster(OURS, 1, (1, 2, 3))) as operator:
            said = await refused(operator, 3, THEIRS)
            assert said.code is Refusal.CLUSTER
            words = "this is cluster test 4000000000000001, node 3 belongs to cluster test 4000000000000002"
            assert said.reason == words == await operator.refusal()
            assert operator.told("node_up") == []
            await joined(operator, 3, cluster_id=OURS)
            await joined(operator, 2)  # a new disk, or release 0.1.0

    run(main())


def test_another_cluster_may_take_its_place() -> None:
    """Founded from a backup, or from what a lost one left."""

    async def main() -> None:
        async with Operator(known=KnownCluster(OURS, 1, (1, 2, 3))) as operator:
            assert (await refused(operator, 3, THEIRS)).code is Refusal.CLUSTER
            operator.relay.reopen()
            there = [await joined(operator, number, cluster_id=THEIRS) for number in (3, 2)]
            await until(lambda: operator.relay.known.cluster_id == THEIRS)
            assert (await refused(operator, 1, OURS)).code is Refusal.CLUSTER and len(there) == 2

    run(main())


def test_whoever_comes_first_decides_nothing() -> None:
    async def main() -> None:
        async with Operator() as operator:
            stranger = await joined(operator, 3, cluster_id=THEIRS)
            stranger.control(3, report(THEIRS, 9, (3,)))
            one = await joined(operator, 1, cluster_id=OURS)
            assert operator.relay.known == KnownCluster(), "it is open: one says this, one that"
            two = await joined(operator, 2, cluster_id=OURS)
            assert operator.relay.known.cluster_id == OURS
            assert "node 3 belongs to cluster test 4000000000000002" in await operator.refusal()
            await stranger.closed()
            for node, raw in ((1, one), (2, two)):
                raw.control(node, report(OURS))
            await until(lambda: operator.relay.known == KnownCluster(OURS, 1, (1, 2, 3)))
            assert (await refused(operator, 3, THEIRS)).code is Refusal.CLUSTER

    run(main())


def test_members_that_no_file_lists_are_let_in() -> None:
    async def main() -> None:
        async with Operator(nodes=1) as operator:
            assert (await refused(operator, 7, OURS)).code is Refusal.UNKNOWN
            one = await joined(operator, 1)
            one.control(1, report(OURS, 1, (1,)))
            one.control(1, report(OURS, 2, (1, 7)))
            await until(lambda: operator.relay.known.members == (1, 7))
            seven = await joined(operator, 7, cluster_id=OURS)
            assert operator.relay.nodes == [1, 7]
            seven.message(7, 1, b"hello")
            while bytes((await one.frame()).payload) != b"hello":
                pass
            assert operator.relay.traffic(7).frames_in == 1
            one.control(1, report(OURS, 3, (1,)))
            await until(lambda: operator.relay.known.members == (1,))
            seven.close()
            await until(lambda: operator.relay.nodes == [1])
            assert (await refused(operator, 7, OURS)).code is Refusal.UNKNOWN

    run(main())


def test_before_it_is_clear_whom_to_serve_members_named_by_nodes_are_let_in() -> None:
    """The file lists 1, 2, 3, the members are 1, 7, 8, 9, and nothing is remembered."""
    async def main() -> None:
        async with Operator() as operator:
            one = await joined(operator, 1, cluster_id=OURS)
            one.control(1, report(OURS, 4, (1, 7, 8, 9)))
            await until(lambda: 7 in operator.relay._served.admitted)
            others = []
            for node in (7, 8, 9):
                assert operator.relay.known == KnownCluster()
                others.append(await joined(operator, node, cluster_id=OURS))
            one.control(1, report(OURS, 4, (1, 7, 8, 9)))
            assert operator.relay.known == KnownCluster(OURS, 4, (1, 7, 8, 9))

    run(main())


def test_nodes_with_new_disks_that_found_another_cluster_here_are_served() -> None:
    async def main() -> None:
        async with Operator(known=KnownCluster(OURS, 5, (1, 2, 3))) as operator:
            one, two = await joined(operator, 1), await joined(operator, 2)
            one.control(1, report(THEIRS))
            await until(lambda: operator.relay.report_of(1))
            assert operator.relay.known.cluster_id == OURS and operator.relay.is_up(1)
            two.control(2, report(THEIRS))
            await until(lambda: operator.relay.known == KnownCluster(THEIRS, 1, (1, 2, 3)))

    run(main())


def test_a_member_that_says_less_changes_nothing() -> None:
    async def main() -> None:
        async with Operator(known=KnownCluster(OURS, 5, (1, 2, 3, 4))) as operator:
            one = await joined(operator, 1, cluster_id=OURS)
            one.control(1, report(OURS, 4, (1, 2, 3)))
            await until(lambda: operator.relay.report_of(1))
            assert operator.relay.known == KnownCluster(OURS, 5, (1, 2, 3, 4))

    run(main())


def test_a_link_says_in_its_handshake_what_its_node_reported() -> None:
    async def main() -> None:
        async with Operator(nodes=1, known=KnownCluster(OURS)) as operator, Node(operator.port, 1) as node:
            await node.up()
            node.link.send_report(report(THEIRS, 1, (1, 2)))
            await until(lambda: operator.relay.known.cluster_id == THEIRS)
            member = operator.relay._members[1]
            member.abort()
            await until(lambda: not operator.relay.is_up(1))
            await node.up()
            hello = operator.relay._members[1].hello
            assert hello is not None and hello.cluster_id == THEIRS

    run(main())


def test_one_node_alone_says_nothing_of_the_members_for_long() -> None:
    """The first to connect tells of a configuration that will never be: it is what a majority says when that is there.
    Later it is outvoted at once."""
    async def main() -> None:
        async with Operator(known=KnownCluster(OURS, 2, (1, 2, 3))) as operator:
            liar = await joined(operator, 3, cluster_id=OURS)
            liar.control(3, report(OURS, 2**62, (3,)))
            await until(lambda: operator.relay.known.configuration == 2**62)
            honest = [await joined(operator, node, cluster_id=OURS) for node in (1, 2)]
            for number, node in enumerate(honest, 1):
                node.control(number, report(OURS, 2, (1, 2, 3)))
            await until(lambda: operator.relay.known == KnownCluster(OURS, 2, (1, 2, 3)))
            liar.control(3, report(OURS, 2**62, (3, 4)))
            await until(lambda: operator.relay.report_of(3).members == [3, 4])  # type: ignore[union-attr]
            honest[0].control(1, report(OURS, 3, (1, 2, 3, 5)))
            honest[1].control(2, report(OURS, 3, (1, 2, 3, 5)))
            await until(lambda: operator.relay.known == KnownCluster(OURS, 3, (1, 2, 3, 5)))

    run(main())


def test_the_first_to_be_connected_does_not_name_many_members() -> None:
    async def main() -> None:
        async with Operator(known=KnownCluster(OURS, 2, (1, 2, 3))) as operator:
            liar = await joined(operator, 3, cluster_id=OURS)
            liar.control(3, report(OURS, 2**62, tuple(range(1, 1000))))
            await until(lambda: operator.relay.report_of(3))
            assert operator.relay.known == KnownCluster(OURS, 2, (1, 2, 3))
            honest = await joined(operator, 1, cluster_id=OURS)
            for number, node in ((1, honest), (3, liar)):
                node.control(number, report(OURS, 4, (1, 3, 4, 5)))
            await until(lambda: operator.relay.known == KnownCluster(OURS, 4, (1, 3, 4, 5)))

    run(main())
