"""What goes wrong with etcd, in words; logins; and members in turn."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from engine.etcd.client import FIRST_ANSWER_S, Access, Compacted, Elsewhere, EtcdClient, EtcdError, MemberGone
from engine.etcd.http import HttpError
from engine.etcd.wire import RangeAnswer, encode
from tests.simulation.etcd_gateway import EXHAUSTED, INVALID, UNAVAILABLE, FakeEtcd, Json, Refuse
from tests.simulation.etcd_world import ENDPOINTS
from tests.simulation.virtual_loop import run

GET = encode({"key": b"x"})
RANGE = "/v3/kv/range"


def fake() -> FakeEtcd:
    return FakeEtcd(asyncio.get_running_loop().time)


def client_of(etcd: FakeEtcd, *endpoints: str, user: str | None = None, password: str = "") -> EtcdClient:
    access = Access(endpoints or ENDPOINTS, user=user, password=password)
    return EtcdClient(access, http=etcd, random=Random(1))


@pytest.mark.parametrize(("refusal", "kind", "words"), [
    (Refuse(EXHAUSTED, "etcdserver: mvcc: database space exceeded", 429), EtcdError, "etcd is out of space"),
    (Refuse(EXHAUSTED, "etcdserver: too many requests", 429), EtcdError, "too many requests"),
    (Refuse(INVALID, "etcdserver: request is too large", 400), EtcdError, "--max-request-bytes"),
    (Refuse(7, "etcdserver: permission denied", 403), EtcdError, "may not read and write"),
    (Refuse(INVALID, "etcdserver: user name is empty", 400), EtcdError, '"user"'),
    (Refuse(UNAVAILABLE, "etcdserver: no leader"), Elsewhere, "etcd has no leader"),
    (Refuse(UNAVAILABLE, "etcdserver: leader changed"), Elsewhere, "leader has changed"),
    (Refuse(UNAVAILABLE, "etcdserver: request timed out"), Elsewhere, "lost its majority"),
    (Refuse(UNAVAILABLE, "etcdserver: news of tomorrow"), Elsewhere, "http://a:1: news of tomorrow"),
    (Refuse(11, "etcdserver: mvcc: required revision has been compacted", 400), Compacted, "older"),
    (HttpError("cannot be reached: no connection"), MemberGone, "member http://a:1 cannot be reached"),
])
def test_each_failure_in_words(refusal: Exception, kind: type[EtcdError], words: str) -> None:
    async def ask() -> None:
        etcd = fake()

        def fail(endpoint: str, path: str, request: Json) -> None:
            raise refusal

        etcd.before = fail
        with pytest.raises(kind, match=words) as raised:
            await client_of(etcd, "http://a:1").call(RANGE, GET, RangeAnswer)
        assert type(raised.value) is kind

    run(ask)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"kvs": 3}', b"<html>", b"\xff", b'{"kvs": [{"key": "?"}]}'])
@pytest.mark.parametrize("status", [200, 500])
def test_what_is_no_gateway_is_said(body: bytes, status: int) -> None:
    async def ask() -> None:
        client = client_of(fake(), "http://a:1")

        async def post(*_: object) -> object:
            from engine.etcd.http import Answer
            return Answer(status, body)

        client._http.post = post  # type: ignore[method-assign, assignment]
        with pytest.raises(EtcdError, match=r"does not answer like etcd's JSON gateway|^http://a:1: $"):
            await client.call(RANGE, GET, RangeAnswer)

    run(ask)


def test_a_login_that_expires_is_made_anew() -> None:
    async def ask() -> None:
        etcd = fake()
        etcd.tokens = set()
        client = client_of(etcd, user="u", password="right")
        await client.call(RANGE, GET, RangeAnswer)
        etcd.tokens.clear()
        await asyncio.gather(*(client.call(RANGE, GET, RangeAnswer) for _ in range(5)))
        logins = [path for _, path, _ in etcd.requests if path.endswith("authenticate")]
        assert len(logins) == 2
        wrong = client_of(etcd, user="u", password="wrong")
        with pytest.raises(EtcdError, match="does not accept the user or the password"):
            await wrong.call(RANGE, GET, RangeAnswer)
        assert "wrong" not in str(wrong.trouble)

    run(ask)


def test_one_member_that_is_gone_is_not_told_all_of_them_are() -> None:
    async def ask() -> None:
        etcd, told = fake(), list[str | None]()
        client = EtcdClient(Access(ENDPOINTS), lambda: told.append(client.trouble), http=etcd, random=Random(1))
        for endpoint in ENDPOINTS:
            etcd.cut = {endpoint}
            await client.insist("read", RANGE, GET, RangeAnswer)
        assert told == []
        etcd.cut = set(ENDPOINTS)
        asking = asyncio.ensure_future(client.insist("read", RANGE, GET, RangeAnswer))
        await asyncio.sleep(5)
        assert len(told) >= 1 and "cannot be reached" in str(client.trouble)
        asked = len(etcd.requests)
        await asyncio.sleep(20)
        assert len(etcd.requests) - asked <= 27, "pauses grow"
        etcd.cut.clear()
        await asking
        assert client.trouble is None and told[-1] is None

    run(ask)


def test_a_member_that_says_nothing_is_left() -> None:
    async def ask() -> None:
        etcd = fake()
        client = client_of(etcd)
        etcd.hung = {client._endpoint}
        began = asyncio.get_running_loop().time()
        await client.insist("read", RANGE, GET, RangeAnswer)
        assert asyncio.get_running_loop().time() - began < 1.5 * FIRST_ANSWER_S

    run(ask)


def test_an_etcd_that_is_slow_is_not_left() -> None:
    async def ask() -> None:
        etcd = fake()
        client = client_of(etcd)
        slow = 1.2 * FIRST_ANSWER_S
        etcd.delay = lambda: slow / 2  # on the way there, and back
        for _ in range(20):
            await client.insist("read", RANGE, GET, RangeAnswer)
        assert len(etcd.requests) == 21, "only the first one was repeated"
        etcd.delay = lambda: 0.001
        for _ in range(100):
            await client.insist("read", RANGE, GET, RangeAnswer)
        began = asyncio.get_running_loop().time()
        etcd.hung = {client._endpoint}
        await client.insist("read", RANGE, GET, RangeAnswer)
        assert asyncio.get_running_loop().time() - began < 1.5 * FIRST_ANSWER_S

    run(ask)


def test_a_watch_in_any_pieces() -> None:
    async def ask() -> None:
        etcd = fake()
        etcd.fragments = True
        client = client_of(etcd)
        request = encode({"create_request": {"key": b"a", "range_end": b"b", "start_revision": 1}})
        seen: list[bytes] = []

        async def watch() -> None:
            async for told in client.watch(request):
                seen.extend(event.kv.key for event in told.events)

        watching = asyncio.ensure_future(watch())
        for number in range(3):
            await client.call("/v3/kv/txn", encode({"success": [
                {"request_put": {"key": b"a%d" % number, "value": b"x"}}, {"request_put": {"key": b"c", "value": b""}},
            ]}), RangeAnswer)
        await asyncio.sleep(0.1)
        assert seen == [b"a0", b"a1", b"a2"]
        etcd.break_watches()
        with pytest.raises(Elsewhere, match="has closed the connection"):
            await watching

    run(ask)
