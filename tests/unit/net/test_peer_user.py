"""Without a secret, both sides of a handshake ask whose process the other one is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

import net.peer_user
from net.peer_user import can_tell, user_of
from tests.unit.net.net_tools import HOST, Node, Operator, Raw, hello, run, until

needs_an_answer = pytest.mark.skipif(not can_tell(), reason="this system does not tell whose a connection is")
SECRET = "correct horse"


@pytest.fixture(params=[(HOST, socket.AF_INET), ("::1", socket.AF_INET6)])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    host, family = request.param
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with server, socket.create_connection(server.getsockname()[:2]) as near, server.accept()[0] as far:
        yield near, far


@needs_an_answer
def test_the_kernel_names_the_user_of_a_connected_socket_and_of_no_other(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = pair
    here, there = far.getpeername(), far.getsockname()
    mine = os.geteuid()
    assert user_of(here, there) == user_of(there, here) == mine
    assert user_of(there, (there[0], 1)) is None, "who only listens is not at the other end"
    near.close()
    assert user_of(here, there) is None, "nobody holds it any more; what it has sent may still be read"
    assert user_of(None, there) is user_of(("no address", 1), there) is None
    monkeypatch.setattr("sys.platform", "other")
    assert user_of(there, here) is None and not can_tell()


@pytest.mark.parametrize("user", [12345, None])
def test_another_users_node_and_orchestrator_are_refused_unless_they_know_a_secret(
    user: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net.peer_user, "user_of", lambda local, remote: user)

    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await until(lambda: one.reasons("refused"))
            assert "orchestrator is run by another user" in one.reasons("refused")[0]
            assert operator.told("refused") == [], "the node has told it nothing"
            stranger = await Raw.connect(operator.port)
            await stranger.hear()
            stranger.control(1, hello(1))
            assert "node 1 is run by another user" in await operator.refusal()
            assert operator.told("node_up") == []
        async with Operator(secret=SECRET) as operator, Node(operator.port, 1, SECRET) as one:
            await one.up()

    run(main())


def test_root_may_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net.peer_user, "user_of", lambda local, remote: 0)
    monkeypatch.setattr("os.geteuid", lambda: 12345)

    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1) as one:
            await one.up()

    run(main())


@needs_an_answer
def test_nodes_at_an_ipv6_address_need_no_secret_either(ipv6: str) -> None:
    async def scenario() -> None:
        operator = Operator(host=ipv6)
        async with operator, Node(operator.port, 1, host=ipv6) as one, Node(operator.port, 2, host=ipv6) as two:
            await one.up()
            await two.up()
            one.link.send(2, b"hello")
            await two.count(1)
            assert operator.relay.process(1) == os.getpid(), "it is known to run on this machine"
            assert two.got == [(1, b"hello")]
        async with Node(operator.port, 3, host=ipv6) as alone:
            await until(lambda: alone.link.problem)
            assert f"no orchestrator at [::1]:{operator.port}" in (alone.link.problem or "")

    run(scenario())
