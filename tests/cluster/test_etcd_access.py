"""A real etcd that wants certificates of its clients, and a user and a password: what is right works, and each thing
that can be wrong is said in words."""

from __future__ import annotations

import asyncio
import datetime
import json
import shutil
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from engine.etcd.client import EtcdClient, EtcdError
from engine.etcd.wire import DoneAnswer, TxnAnswer, encode, put, txn
from launcher.certificates import make_authority, make_certificate
from launcher.configuration import load
from launcher.errors import LaunchError
from launcher.etcd_cluster import access_of
from tests.cluster.etcd_members import EtcdMembers, allow, needs_etcd
from tests.cluster.harness import Cluster, until

pytestmark = needs_etcd

PASSWORD = "of no worth"
TOKENS_LAST_S = 1


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority `ca`, what it has signed, and another authority with a client of its own."""
    folder = tmp_path_factory.mktemp("tls")
    for authority in (folder, folder / "others"):
        make_authority(authority, "test")
        for name in ("member", "client"):
            make_certificate(authority, "test", name, ["127.0.0.1"])
    signed_anew(folder, "client", "expired", days=-1)
    signed_anew(folder, "client", "nameless")
    (folder / "broken.crt").write_text("no certificate")
    return folder


def signed_anew(folder: Path, name: str, as_: str, days: int = 1) -> None:
    """The certificate `name` without a common name, and valid for so many days from now on."""
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    old = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(old.issuer).serial_number(1).public_key(
        old.public_key()).not_valid_before(now - datetime.timedelta(3)).not_valid_after(now + datetime.timedelta(days))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    new = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    (folder / f"{as_}.crt").write_bytes(new.public_bytes(serialization.Encoding.PEM))
    shutil.copy(folder / f"{name}.key", folder / f"{as_}.key")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a member that is slow is not given up for another one: there is none."""
    for name in ("client.FIRST_ANSWER_S", "client.ANSWER_S", "http.CONNECT_S"):
        monkeypatch.setattr(f"engine.etcd.{name}", 30.0)


@pytest.fixture(scope="module")
def mutual(tls: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdMembers]:
    """One member, with certificates on both sides."""
    options = ["--client-cert-auth", "--trusted-ca-file", str(tls / "ca.crt")]
    with EtcdMembers(tmp_path_factory.mktemp("mutual"), 1, options, tls) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def guarded(tls: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdMembers]:
    """One member, with the same and with users, of whom `reader` may do nothing."""
    options = ["--client-cert-auth", "--trusted-ca-file", str(tls / "ca.crt"),
               "--auth-token-ttl", str(TOKENS_LAST_S)]
    with EtcdMembers(tmp_path_factory.mktemp("guarded"), 1, options, tls) as etcd:
        etcd.ask(1, "/v3/auth/user/add", {"name": "reader", "password": PASSWORD})
        allow(etcd, "consensus", PASSWORD, "test/")
        yield etcd


def client_of(folder: Path, engine: dict[str, Any]) -> EtcdClient:
    """As of a node whose configuration has this section."""
    path = folder / "config.json"
    path.write_text(json.dumps({"cluster": "test", "nodes": [{"id": 1}], "engine": {"type": "etcd", **engine}}))
    return EtcdClient(access_of(load(path)))


def files(tls: Path, client: str | None = "client", ca: str = "ca") -> dict[str, str]:
    own = {} if client is None else {"cert": str(tls / f"{client}.crt"), "key": str(tls / f"{client}.key")}
    return {"ca": str(tls / f"{ca}.crt"), **own}


async def put_and_watch(client: EtcdClient) -> None:
    """Raises EtcdError."""
    done = await client.call("/v3/kv/txn", txn([], [put(b"test/key", b"value")]), TxnAnswer)
    watch = client.watch(encode({"create_request": {"key": b"test/key", "start_revision": done.header.revision}}))
    async with aclosing(watch):
        async for told in watch:
            if told.events:
                return


def words_of(client: EtcdClient) -> str:
    """What is said: the second time, since a server's last words may be lost the first time."""
    async def twice() -> str:
        said = ""
        for _ in range(2):
            with pytest.raises(EtcdError) as raised:
                await put_and_watch(client)
            said = str(raised.value)
        await client.close()
        return said

    return asyncio.run(twice())


@pytest.mark.parametrize(("changes", "words"), [
    ({"tls": {"client": None}}, "does not accept this node's certificate"),
    ({"tls": {"client": "others/client"}}, "not accept this node's certificate"),
    ({"tls": {"client": "expired"}}, "not accept this node's certificate"),
    ({"tls": {"ca": "others/ca"}}, 'has a certificate that "ca" in "engine"."tls"'),
    ({"host": "localhost"}, "has a certificate for another address"),
    ({"scheme": "http"}, "does it want https://"),
    ({"user": "consensus"}, "etcd knows no users"),
])
def test_wrong_certificates(
    mutual: EtcdMembers, tls: Path, tmp_path: Path, changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_ETCD_PASSWORD", PASSWORD)
    engine = {"endpoints": [mutual.endpoint(1)], "tls": files(tls, **changes.get("tls", {}))}
    if "host" in changes:
        engine["endpoints"] = [mutual.endpoint(1).replace("127.0.0.1", changes["host"])]
    if "scheme" in changes:
        engine = {"endpoints": [mutual.endpoint(1).replace("https", changes["scheme"])]}
    if "user" in changes:
        engine |= {"user": changes["user"], "password_env": "TEST_ETCD_PASSWORD"}
    said = words_of(client_of(tmp_path, engine))
    assert words in said and "None" not in said, said


@pytest.mark.parametrize(("user", "password", "client", "words"), [
    (None, PASSWORD, "nameless", 'etcd\'s user ("user" in "engine") may not'),
    ("consensus", "wrong", "nameless", "does not accept the user or the password"),
    ("nobody", PASSWORD, "nameless", "does not accept the user or the password"),
    ("reader", PASSWORD, "nameless", "may not read and write below the prefix"),
    ("consensus", PASSWORD, "client", "takes no client certificate with a common name"),
])
def test_wrong_users(
    guarded: EtcdMembers, tls: Path, tmp_path: Path, user: str | None, password: str, client: str, words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_ETCD_PASSWORD", password)
    users = {} if user is None else {"user": user, "password_env": "TEST_ETCD_PASSWORD"}
    said = words_of(client_of(tmp_path, {"endpoints": guarded.endpoints, "tls": files(tls, client), **users}))
    assert words in said and PASSWORD not in said, said


def test_a_login_that_expires_is_made_anew(
    guarded: EtcdMembers, tls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By time, and with the member that has given it."""
    monkeypatch.setenv("TEST_ETCD_PASSWORD", PASSWORD)
    client = client_of(tmp_path, {
        "endpoints": guarded.endpoints, "tls": files(tls, "nameless"), "user": "consensus",
        "password_env": "TEST_ETCD_PASSWORD"})

    async def use() -> None:
        await put_and_watch(client)
        await asyncio.sleep(TOKENS_LAST_S + 2.0)
        await put_and_watch(client)
        guarded.kill(1)
        guarded.start(1)
        await client.insist("test", "/v3/kv/range", encode({"key": b"test/key"}), DoneAnswer)
        await put_and_watch(client)
        await client.close()

    asyncio.run(use())


def test_a_node_says_what_is_wrong_and_goes_on_with_other_files(
    mutual: EtcdMembers, tls: Path, tmp_path: Path
) -> None:
    def certificate(name: str) -> None:
        for kind in ("key", "crt"):
            shutil.copy(tls / f"{name}.{kind}", tls / f"node.{kind}")

    certificate("expired")
    engine = {"type": "etcd", "endpoints": mutual.endpoints, "prefix": "node", "tls": files(tls, "node")}
    with Cluster(tmp_path, 1, engine=engine) as cluster:
        node = cluster.nodes[1]
        until(lambda: "not accept this node's certificate" in node.ok("status").get("notice", ""))
        line = node.send("create c1")
        certificate("client")
        assert node.result(line)["ok"]
        until(lambda: "notice" not in node.ok("status"))


@pytest.mark.parametrize(("changes", "words"), [
    ({"ca": "nowhere"}, "nowhere.crt cannot be read: No such file"),
    ({"ca": "broken"}, "broken.crt cannot be used: no certificate or crl found"),
    ({"client": "broken"}, "broken.key cannot be read: No such file"),
    ({"client": "mixed"}, "mixed.key with .*mixed.crt cannot be used: key values mismatch"),
])
def test_files_that_cannot_be_used(tls: Path, tmp_path: Path, changes: dict[str, str], words: str) -> None:
    shutil.copy(tls / "client.crt", tls / "mixed.crt")
    shutil.copy(tls / "member.key", tls / "mixed.key")
    with pytest.raises(LaunchError, match=words):
        client_of(tmp_path, {"endpoints": ["https://127.0.0.1:1"], "tls": files(tls, **changes)})
