"""Connections under TLS: who is let in, what is said of who is not, and new files for new connections."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import net.tls
from launcher import certificates
from launcher.certificates import make_authority, make_certificate
from launcher.errors import LaunchError
from net import tls_server
from net.tls import NETWORK, TlsContexts, TlsError, TlsFiles, identity_uri, node_name
from net.tls_server import MAX_HANDSHAKES
from tests.unit.net.net_tools import HOST, Node, Operator, run, until

CLUSTER = "test"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With certificates of the cluster's network and of nodes 1 and 2."""
    return _make(tmp_path / "tls")


def _make(folder: Path, cluster: str = CLUSTER) -> Path:
    make_authority(folder, cluster)
    for name in (NETWORK, node_name(1), node_name(2)):
        make_certificate(folder, cluster, name, [HOST])
    return folder


def _files(folder: Path, name: str) -> TlsFiles:
    return TlsFiles(folder / "ca.crt", folder / f"{name}.crt", folder / f"{name}.key")


def _contexts(folder: Path, name: str, *, cluster: str = CLUSTER) -> TlsContexts:
    return TlsContexts(_files(folder, name), identity_uri(cluster, name))


def _unchecked(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> TlsContexts:
    """As of a process that does not look at its own certificate."""
    with monkeypatch.context() as patch:
        patch.setattr(net.tls, "check_certificate", lambda files, identity: None)
        return _contexts(folder, name)


def test_nodes_with_certificates_talk_and_need_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("net.link_connection.is_own_user", lambda transport: False)
    monkeypatch.setattr("net.relay.connection.is_own_user", lambda transport: False)
    large = os.urandom(3_000_000)

    async def main() -> None:
        async with (
            Operator(tls=_contexts(folder, NETWORK)) as operator,
            Node(operator.port, 1, tls=_contexts(folder, node_name(1))) as one,
            Node(operator.port, 2, tls=_contexts(folder, node_name(2))) as two,
        ):
            await one.up()
            await two.up()
            one.link.send(2, b"small")
            one.link.send(2, large)
            await two.count(2)
            assert two.payloads(1) == [b"small", large]

    run(main())


@pytest.mark.parametrize(
    ("certificate", "cluster", "said"),
    [
        (node_name(2), CLUSTER, "node 1 of test has the certificate of consensusllm:test/node-2"),
        (NETWORK, CLUSTER, "node 1 of test has the certificate of consensusllm:test/network"),
        (node_name(1), "other", "node 1 of test has the certificate of consensusllm:other/node-1"),
    ],
)
def test_the_certificate_of_another_gets_nobody_in(
    folder: Path, certificate: str, cluster: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cluster != CLUSTER:
        make_certificate(folder, cluster, certificate, [])
    contexts = _unchecked(folder, certificate, monkeypatch)

    async def main() -> None:
        async with Operator(tls=_contexts(folder, NETWORK)) as operator, Node(operator.port, 1, tls=contexts) as node:
            assert await operator.refusal() == said
            await until(lambda: node.reasons("refused"))
            assert node.reasons("refused")[0] == said and not operator.relay.is_up(1)

    run(main())


def test_a_node_trusts_nobody_but_its_clusters_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = _unchecked(folder, NETWORK, monkeypatch)
    make_certificate(folder, CLUSTER, node_name(2), [HOST])
    impostor = _unchecked(folder, node_name(2), monkeypatch)

    async def main() -> None:
        async with Operator(tls=impostor) as operator, Node(operator.port, 1, tls=_contexts(folder, "node-1")) as node:
            await until(lambda: node.reasons("refused"))
            assert node.reasons("refused")[0].endswith("its certificate is that of consensusllm:test/node-2")
            assert not operator.told("node_up")
        assert contexts.server() is not impostor.server()

    run(main())


def _of_another_authority(folder: Path) -> None:
    make_authority(folder / "else", CLUSTER)
    make_certificate(folder / "else", CLUSTER, node_name(1), [])
    for kind in (".crt", ".key"):
        shutil.copy(folder / "else" / f"node-1{kind}", folder)


def _expired(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "CLOCK_SKEW", datetime.timedelta(days=2))
        patch.setattr(certificates, "CERTIFICATE_DAYS", -1)
        make_certificate(folder, CLUSTER, node_name(1), [])


def _not_yet_valid(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "CLOCK_SKEW", datetime.timedelta(days=-2))
        make_certificate(folder, CLUSTER, node_name(1), [])


WRONG = [
    (_of_another_authority, "is not signed by the authority in", "not signed by this cluster's authority"),
    (_expired, "expired on ", "its certificate has expired, or this machine's clock is wrong"),
    (_not_yet_valid, "on this machine's clock", "not valid yet, or this machine's clock"),
]


@pytest.mark.parametrize(("spoil", "own", "others"), WRONG, ids=lambda one: getattr(one, "__name__", None))
def test_what_is_wrong_with_a_certificate_is_said_by_its_owner_and_by_whoever_sees_it(
    folder: Path, spoil: Callable[[Path], None], own: str, others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(folder)
    with pytest.raises(TlsError, match=own):
        _contexts(folder, node_name(1))
    wrong = _unchecked(folder, node_name(1), monkeypatch)

    async def main() -> None:
        async with Operator(tls=_contexts(folder, NETWORK)) as operator, Node(operator.port, 1, tls=wrong) as node:
            assert others in await operator.refusal()
            await until(lambda: node.link.problem)
            assert "may not trust this node's certificate" in str(node.link.problem)
        # The same certificate on the orchestrator's side.
        async with Operator(tls=wrong) as operator, Node(operator.port, 2, tls=_contexts(folder, "node-2")) as node:
            await until(lambda: node.reasons("refused"))
            assert others in node.reasons("refused")[0]

    run(main())


def test_tls_and_none_do_not_talk_and_say_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("net.link_connection.HANDSHAKE_S", 0.1)
    monkeypatch.setattr("net.tls_server.HANDSHAKE_S", 0.1)

    async def main() -> None:
        async with Operator() as operator, Node(operator.port, 1, tls=_contexts(folder, "node-1")) as node:
            await until(lambda: node.reasons("refused"))
            assert 'it does not use TLS: "tls" is missing in its config.json' in node.reasons("refused")[0]
        async with Operator(tls=_contexts(folder, NETWORK)) as operator, Node(operator.port, 1) as node:
            await until(lambda: node.link.problem)
            assert "TLS" in str(node.link.problem)

    run(main())


@pytest.mark.parametrize("missing", ["ca.crt", "node-1.crt", "node-1.key"])
def test_files_that_cannot_be_used_are_named(folder: Path, missing: str) -> None:
    (folder / missing).write_text("nothing")
    with pytest.raises(TlsError, match=missing.replace("ca.crt", "ca")):
        _contexts(folder, node_name(1))
    (folder / missing).unlink()
    with pytest.raises(TlsError, match=rf"{missing} does not exist: `./run.sh cert` makes it"):
        _contexts(folder, node_name(1))


def test_new_connections_take_new_files_and_a_mistake_in_them_changes_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    newer = _make(tmp_path / "newer")

    async def main() -> None:
        relays, first = _contexts(folder, NETWORK), _contexts(folder, node_name(1))
        async with Operator(tls=relays) as operator, Node(operator.port, 1, tls=first) as one:
            await one.up()
            # The certificate is not there yet.
            (folder / "network.key").write_bytes((newer / "network.key").read_bytes())
            async with Node(operator.port, 2, tls=_contexts(folder, node_name(2))) as two:
                await two.up()
            told = [record.message for record in caplog.records if "former certificate" in record.message]
            assert len(told) == 1 and "network.key cannot be used" in told[0]
            for file in newer.iterdir():
                shutil.copy(file, folder)
            async with Node(operator.port, 2, tls=_contexts(newer, node_name(2))) as two:
                await two.up()
                one.link.send(2, b"still there")
                await two.count(1)

    run(main())


def test_silent_connections_keep_no_node_out(folder: Path) -> None:
    async def main() -> None:
        async with Operator(tls=_contexts(folder, NETWORK)) as operator:
            silent = [await asyncio.open_connection(HOST, operator.port) for _ in range(MAX_HANDSHAKES + 10)]
            async with Node(operator.port, 1, tls=_contexts(folder, node_name(1))) as node:
                await node.up()
            assert await silent[0][0].read() == b"", "the oldest made room"
            for _, writer in silent:
                writer.close()

    run(main())


def test_silent_connections_are_bounded_however_many_come_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_server, "HANDSHAKE_S", 600.0)

    async def main() -> None:
        async with Operator(tls=_contexts(folder, NETWORK)) as operator:
            many = 3 * MAX_HANDSHAKES
            silent = await asyncio.gather(*(asyncio.open_connection(HOST, operator.port) for _ in range(many)))
            await until(lambda: sum(reader.at_eof() for reader, _ in silent) == many - MAX_HANDSHAKES)
            for _, writer in silent:
                writer.close()

    run(main())


def test_an_authority_is_never_overwritten_and_keys_are_private(folder: Path) -> None:
    with pytest.raises(LaunchError, match="move it away first"):
        make_authority(folder, CLUSTER)
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    with pytest.raises(LaunchError, match="is no host name"):
        make_certificate(folder, CLUSTER, node_name(3), ["what is this"])
    (folder / "ca.key").write_bytes((folder / "network.key").read_bytes())
    with pytest.raises(LaunchError, match=r"ca\.key is not the key of ca\.crt"):
        make_certificate(folder, CLUSTER, node_name(3), [])
    (folder / "ca.key").unlink()
    with pytest.raises(LaunchError, match="run this where its key is"):
        make_certificate(folder, CLUSTER, node_name(3), [])
