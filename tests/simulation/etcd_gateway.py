"""A fake of etcd behind its JSON gateway, in memory: keys with revisions, transactions, leases and watches, and every
way in which requests and watches can break that a client has to stand. It is an `engine.etcd.http.Http`."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, NamedTuple

from engine.etcd.http import Answer, BadStatus, HttpError

Json = dict[str, Any]

UNAVAILABLE, EXHAUSTED, OUT_OF_RANGE, UNAUTHENTICATED, INVALID = 14, 8, 11, 16, 3


class Kept(NamedTuple):
    key: bytes
    value: bytes
    created: int
    modified: int
    lease: int


class Change(NamedTuple):
    revision: int
    kept: Kept
    deleted: bool


class Refuse(Exception):
    """The gateway answers with this instead."""

    def __init__(self, code: int, message: str, status: int = 503) -> None:
        super().__init__(message)
        self.answer = Answer(status, json.dumps({"error": message, "message": message, "code": code}).encode())


Before = Callable[[str, str, Json], None]
"""Gets the endpoint, the path and the request. May raise HttpError, or Refuse."""


class _Stream:
    def __init__(self, endpoint: str, start: bytes, end: bytes) -> None:
        self.endpoint = endpoint
        self.range = start, end
        self.silent = False
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        """None: it breaks."""


class FakeEtcd:
    """`before` and `after` are called around what a request does: what they raise is answered. `delay` is slept before
    it and after it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.revision = 1
        self.compacted = 0
        self.kept: dict[bytes, Kept] = {}
        self.history: list[Change] = []
        self.before: Before = lambda endpoint, path, request: None
        self.after: Before = self.before
        self.delay: Callable[[], float] = lambda: 0.001
        self.cut: set[str] = set()
        """Endpoints that nobody reaches."""
        self.hung: set[str] = set()
        """Endpoints that take connections, and answer nothing; to be set with `silent`."""
        self.silent: set[str] = set()
        """Endpoints whose watches, once something happens, tell nothing any more."""
        self.fragments = False
        """A watch tells each event alone, and its bytes in pieces."""
        self.tokens: set[str] | None = None
        """The logins that count; None: nobody has to log in."""
        self.requests: list[tuple[str, str, Json]] = []
        self._clock = clock
        self._leases: dict[int, tuple[float, float]] = {}
        """(TTL, until when)."""
        self._streams: list[_Stream] = []
        self._doing: set[asyncio.Future[Answer]] = set()

    # ---- engine.etcd.http.Http

    async def post(self, endpoint: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What is not waited for any more happens all the same, later."""
        request = json.loads(body)
        self.requests.append((endpoint, path, request))
        doing = asyncio.ensure_future(self._answer(endpoint, path, headers, request))
        self._doing.add(doing)
        doing.add_done_callback(self._done)
        return await asyncio.shield(doing)

    async def _answer(self, endpoint: str, path: str, headers: Mapping[str, str], request: Json) -> Answer:
        try:
            await self._reach(endpoint)
            self.before(endpoint, path, request)
            self._authenticate(path, headers)
            answer = self._do(path, request)
            await self._reach(endpoint)
            self.after(endpoint, path, request)
        except Refuse as refusal:
            return refusal.answer
        return Answer(200, json.dumps(answer).encode())

    def _done(self, doing: asyncio.Future[Answer]) -> None:
        self._doing.discard(doing)
        if not doing.cancelled():
            doing.exception()  # perhaps nobody waits for it

    async def stream(
        self, endpoint: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncGenerator[bytes, None]:
        asked = json.loads(body)["create_request"]
        await self._reach(endpoint)
        try:
            self.before(endpoint, path, asked)
            self._authenticate(path, headers)
        except Refuse as refusal:
            raise BadStatus(refusal.answer) from refusal
        self.expire()
        yield _line({"created": True})
        since = int(asked["start_revision"])
        if since <= self.compacted:
            yield _line({"canceled": True, "compact_revision": str(self.compacted)})
            return
        stream = _Stream(endpoint, b64decode(asked["key"]), b64decode(asked["range_end"]))
        self._streams.append(stream)
        try:
            self._tell(stream, [change for change in self.history if change.revision >= since])
            while (told := await stream.queue.get()) is not None:
                for part in (told[:7], told[7:]) if self.fragments else (told,):
                    yield part
            raise HttpError("has closed the connection")
        finally:
            self._streams.remove(stream)

    async def close(self) -> None:
        """There is nothing to close."""

    # ---- What happens to it

    def break_watches(self, endpoint: str | None = None) -> None:
        for stream in self._streams:
            if endpoint in (None, stream.endpoint):
                stream.queue.put_nowait(None)

    def compact(self, revision: int | None = None) -> None:
        self.compacted = max(self.compacted, self.revision if revision is None else revision)
        self.history = [change for change in self.history if change.revision > self.compacted]

    def expire(self) -> None:
        """Leases end by the clock."""
        for lease, (_, until) in list(self._leases.items()):
            if until < self._clock():
                self._revoke(lease)

    def keys(self, part: str) -> list[str]:
        return [key.decode() for key in sorted(self.kept) if f"/{part}" in key.decode()]

    # ---- What it does

    async def _reach(self, endpoint: str) -> None:
        await asyncio.sleep(self.delay())
        while endpoint in self.hung:  # noqa: ASYNC110 - a set has no event
            await asyncio.sleep(0.1)
        if endpoint in self.cut:
            raise HttpError("cannot be reached: no connection")

    def _authenticate(self, path: str, headers: Mapping[str, str]) -> None:
        if path != "/v3/auth/authenticate" and self.tokens is not None and (
            headers.get("Authorization") not in self.tokens
        ):
            raise Refuse(UNAUTHENTICATED, "etcdserver: invalid auth token", 401)

    def _do(self, path: str, request: Json) -> Json:
        self.expire()
        match path:
            case "/v3/kv/txn":
                return self._txn(request)
            case "/v3/kv/range":
                return self._range(request)
            case "/v3/kv/compaction":
                self.compact(int(request["revision"]))
                return {}
            case "/v3/lease/grant":
                lease = len(self._leases) + 1000 + self.revision * 100
                self._leases[lease] = float(request["TTL"]), self._clock() + float(request["TTL"])
                return {"ID": str(lease), "TTL": str(request["TTL"])}
            case "/v3/lease/keepalive":
                lease = int(request["ID"])
                if lease not in self._leases:
                    return {"result": {"ID": str(lease)}}
                ttl = self._leases[lease][0]
                self._leases[lease] = ttl, self._clock() + ttl
                return {"result": {"ID": str(lease), "TTL": str(int(ttl))}}
            case "/v3/lease/revoke":
                self._revoke(int(request["ID"]))
                return {}
            case "/v3/auth/authenticate":
                if request["password"] != "right":
                    raise Refuse(INVALID, "etcdserver: authentication failed, invalid user ID or password", 400)
                assert self.tokens is not None
                self.tokens.add(token := f"token{len(self.requests)}")
                return {"token": token}
        raise Refuse(5, "Not Found", 404)

    def _revoke(self, lease: int) -> None:
        if self._leases.pop(lease, None) is not None:
            gone = [kept.key for kept in self.kept.values() if kept.lease == lease]
            self._change([], gone)

    def _txn(self, request: Json) -> Json:
        succeeded = all(self._holds(compare) for compare in request.get("compare", ()))
        revision = self.revision + 1
        puts: list[Kept] = []
        gone: list[bytes] = []
        responses = []
        for each in request.get("success" if succeeded else "failure", ()):
            (kind, what), = each.items()
            if kind == "request_range":
                responses.append({"response_range": self._range(what)})
                continue
            responses.append({})
            if kind == "request_put":
                key, lease = b64decode(what["key"]), int(what.get("lease", 0))
                if lease and lease not in self._leases:
                    raise Refuse(5, "etcdserver: requested lease not found", 404)
                created = self.kept[key].created if key in self.kept else revision
                puts.append(Kept(key, b64decode(what["value"]), created, revision, lease))
            else:
                gone += [kept.key for kept in self._within(what)]
        self._change(puts, gone)
        return {"header": {"revision": str(self.revision)}, "succeeded": succeeded, "responses": responses}

    def _holds(self, compare: Json) -> bool:
        if "range_end" in compare:  # all that are there have been created at revision 0: nothing is there
            return not self._within(compare)
        kept = self.kept.get(b64decode(compare["key"]))
        match compare["target"]:
            case "VALUE":
                return kept is not None and kept.value == b64decode(compare["value"])
            case "MOD":
                return (0 if kept is None else kept.modified) == int(compare["mod_revision"])
            case "CREATE":
                return (0 if kept is None else kept.created) == int(compare["create_revision"])
        raise AssertionError(compare)

    def _within(self, what: Json) -> list[Kept]:
        start = b64decode(what["key"])
        end = b64decode(what["range_end"]) if "range_end" in what else start + b"\0"
        return [kept for key, kept in sorted(self.kept.items()) if start <= key < end]

    def _range(self, what: Json) -> Json:
        revision = int(what.get("revision", 0))
        if revision and revision <= self.compacted:
            raise Refuse(OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", 400)
        found = self._at(revision, what) if revision else self._within(what)
        found = [kept for kept in found if kept.modified >= int(what.get("min_mod_revision", 0))]
        if what.get("sort_target") == "MOD":
            found.sort(key=lambda kept: kept.modified)
        limit = int(what.get("limit", 0)) or len(found)
        answer = {
            "header": {"revision": str(self.revision)}, "count": str(len(found)),
            "kvs": [] if what.get("count_only") else [_kv(kept) for kept in found[:limit]],
        }
        return answer | ({"more": True} if len(found) > limit else {})

    def _at(self, revision: int, what: Json) -> list[Kept]:
        """As of a revision that is not compacted."""
        state = dict(self.kept)
        for change in reversed([change for change in self.history if change.revision > revision]):
            state.pop(change.kept.key, None)
            before = [old for old in self.history if old.revision <= revision and old.kept.key == change.kept.key]
            if before and not before[-1].deleted:
                state[change.kept.key] = before[-1].kept
            elif change.deleted and change.kept.modified <= revision:
                state[change.kept.key] = change.kept
        saved, self.kept = self.kept, state
        try:
            return self._within(what)
        finally:
            self.kept = saved

    def _change(self, puts: list[Kept], gone: list[bytes]) -> None:
        if not puts and not gone:
            return
        self.revision += 1
        changes = [Change(self.revision, self.kept.pop(key), True) for key in gone if key in self.kept]
        for kept in puts:
            self.kept[kept.key] = kept
            changes.append(Change(self.revision, kept, False))
        self.history += changes
        for stream in self._streams:
            stream.silent |= stream.endpoint in self.silent  # for good: a member leaves nothing out
            if not stream.silent:
                self._tell(stream, changes)

    def _tell(self, stream: _Stream, changes: list[Change]) -> None:
        start, end = stream.range
        events = [_event(change) for change in changes if start <= change.kept.key < end]
        for told in [[event] for event in events] if self.fragments else [events] if events else []:
            stream.queue.put_nowait(_line({"events": told}))


def _kv(kept: Kept) -> Json:
    """Zeros are left out, as the gateway does."""
    found = {"key": kept.key, "value": kept.value, "create_revision": kept.created, "mod_revision": kept.modified,
             "lease": kept.lease}
    return {name: b64encode(value).decode() if isinstance(value, bytes) else str(value)
            for name, value in found.items() if value}


def _event(change: Change) -> Json:
    kept = change.kept
    if change.deleted:
        return {"type": "DELETE", "kv": _kv(Kept(kept.key, b"", 0, change.revision, 0))}
    return {"kv": _kv(kept)}


def _line(result: Json) -> bytes:
    return json.dumps({"result": result}).encode() + b"\n"
