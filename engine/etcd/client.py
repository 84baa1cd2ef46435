"""Requests to an etcd cluster: one member after another, logged in, with every failure in words."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from random import Random
from typing import Final, TypeVar

import msgspec

from engine.etcd.http import Answer, BadStatus, Connections, Http, HttpError
from engine.etcd.wire import Refusal, Refused, TokenAnswer, TxnAnswer, Watched, WatchLine, decode, encode

T = TypeVar("T")

FIRST_ANSWER_S, ANSWER_S = 1.0, 4.0
"""A member that takes longer is taken for gone: the next one is asked. What was on its way to etcd's leader when that
died is lost, without a word; so the first is what usually is enough, and more is allowed where etcd is slow."""
CALMER: Final = 0.98
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
QUIET_S = 2.5
"""What fails for so long is told, even if other members were not asked yet."""
MOST_LINE: Final = 64 * 1024 * 1024
"""Bytes of one answer of a watch; members send pieces of at most 2 MB."""
OK: Final = 200
_UNAUTHENTICATED, _UNAVAILABLE, _OUT_OF_RANGE = 16, 14, 11
_PASSING = (1, 4, _UNAVAILABLE)
"""gRPC's codes for what another member may be able to do: cancelled, too slow, unavailable."""

_HINTS = (
    ("database space exceeded", "etcd is out of space: nothing can be written until it has room (raise "
     "--quota-backend-bytes, or compact and defragment it), and `etcdctl alarm disarm`"),
    ("too many requests", "etcd has too many requests to do"),
    ("request is too large", "etcd refuses requests of this size: give it --max-request-bytes 1572864 (its default) or "
     "more"),
    ("too many operations", "etcd refuses transactions of this size: give it --max-txn-ops 128 (its default)"),
    ("user name is empty", 'etcd wants a user: set "user" and "password_env" in "engine"'),
    ("authentication is not enabled", 'etcd knows no users: leave "user" out, or enable authentication there'),
    ("authentication failed", "etcd does not accept the user or the password"),
    ("permission denied", 'etcd\'s user ("user" in "engine") may not read and write below the prefix'),
    ("no leader", "etcd has no leader"),
    ("leader changed", "etcd's leader has changed"),
    ("request timed out", "etcd takes too long: has it lost its majority?"),
)

class EtcdError(Exception):
    """A request has failed, in words. It may have taken effect all the same."""


class Elsewhere(EtcdError):
    """This member cannot do it; another one may."""


class MemberGone(Elsewhere):
    """There is no connection, or no answer: that says nothing of etcd as a whole."""


class Unauthenticated(EtcdError):
    """The login has expired."""


class Compacted(EtcdError):
    """What was asked for is older than what etcd keeps."""


class Access(msgspec.Struct, frozen=True):
    """How an etcd cluster is reached."""

    endpoints: tuple[str, ...]
    """At least one URL without a path."""
    tls: Callable[[], ssl.SSLContext] | None = None
    """For the next connection."""
    user: str | None = None
    password: str = msgspec.field(default="")


class EtcdClient:
    """`changed` is called when `trouble` has. `http` is the way to the members, sockets if None."""

    def __init__(
        self, access: Access, changed: Callable[[], None] = lambda: None, *,
        http: Http | None = None, random: Random | None = None,
    ) -> None:
        self._access = access
        self._changed = changed
        self.watch_left: Callable[[], None] = lambda: None
        """Called when the member is left from which a watch comes."""
        self._watched_at = -1
        self._random = random or Random()
        self._at = self._random.randrange(len(access.endpoints))
        self._token = ""
        self._login: asyncio.Lock = asyncio.Lock()
        self._troubles: dict[str, str] = {}
        """By the work that is held up."""
        self._http: Http = http or Connections(access.tls)
        self._patience = FIRST_ANSWER_S

    @property
    def trouble(self) -> str | None:
        """Why something cannot be done now; None if all goes well."""
        return next(iter(self._troubles.values()), None)

    async def close(self) -> None:
        await self._http.close()

    async def insist(self, work: str, path: str, body: bytes, answer: type[T]) -> T:
        """Asks until it is answered, with growing pauses. The request must stand a repetition. `work` is what is held
        up meanwhile. Raises Compacted, which no repetition changes."""
        attempts = self.attempts(work)
        while True:
            try:
                found = await self.call(path, body, answer)
            except Compacted:
                raise
            except EtcdError as error:
                await attempts.failed(error)
            else:
                attempts.succeeded()
                return found

    def attempts(self, work: str) -> Attempts:
        return Attempts(self, work, len(self._access.endpoints))

    async def txn(self, work: str, body: bytes) -> TxnAnswer:
        return await self.insist(work, "/v3/kv/txn", body, TxnAnswer)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._random.uniform(0.75, 1.25))

    def report(self, work: str, trouble: str | None) -> None:
        """`work` is held up by this, or goes well."""
        before = self.trouble
        if trouble is None:
            self._troubles.pop(work, None)
        else:
            self._troubles[work] = trouble
        if self.trouble != before:
            self._changed()

    async def call(self, path: str, body: bytes, answer: type[T]) -> T:
        """One request, to one member. Raises EtcdError."""
        try:
            return await self._call(path, body, answer)
        except Unauthenticated:
            await self._log_in(self._token)
            return await self._call(path, body, answer)

    async def watch(self, request: bytes) -> AsyncGenerator[Watched, None]:
        """What a member tells, until that breaks off. Raises EtcdError."""
        if self._access.user is not None and not self._token:
            await self._log_in("")
        self._watched_at = at = self._at
        endpoint = self._endpoint
        try:
            async with aclosing(self._http.stream(endpoint, "/v3/watch", self._headers(), request)) as parts:
                async for line in _lines(parts):
                    yield self._watched(endpoint, line)
            raise MemberGone(f"etcd's member {endpoint} has ended a watch")
        except BadStatus as error:
            raise _refusal(endpoint, error.answer) from error
        except (HttpError, Elsewhere) as error:
            self.leave(at)
            raise _elsewhere(endpoint, error) from error
        except Unauthenticated:
            self._token = ""
            raise

    def leave(self, at: int | None = None) -> None:
        """Asks the next member from now on; not if that was done since `at` was the one."""
        if at is None or at == self._at:
            if self._at == self._watched_at:
                self._watched_at = -1
                self.watch_left()
            self._at = (self._at + 1) % len(self._access.endpoints)

    def leave_watched(self) -> None:
        """The watch tells nothing any more; the member is left, unless it was already."""
        if self._at == self._watched_at:
            self._watched_at = -1
            self.leave()

    @property
    def _endpoint(self) -> str:
        return self._access.endpoints[self._at]

    def _headers(self) -> dict[str, str]:
        """A member that has lost the leader says so at once, instead of being waited for."""
        return {"Grpc-Metadata-hasleader": "true"} | ({"Authorization": self._token} if self._token else {})

    async def _call(self, path: str, body: bytes, answer: type[T]) -> T:
        if self._access.user is not None and not self._token and answer is not TokenAnswer:
            await self._log_in("")
        at, endpoint = self._at, self._endpoint
        try:
            began = asyncio.get_running_loop().time()
            async with asyncio.timeout(self._patience):
                found = await self._http.post(endpoint, path, self._headers(), body)
            self._took(asyncio.get_running_loop().time() - began)
            if found.status != OK:
                raise _refusal(endpoint, found)
            return decode(found.body, answer)
        except TimeoutError:
            if at == self._at:  # else others that were asked at the same time have seen to it
                self._patience = min(2 * self._patience, ANSWER_S)
            self.leave(at)
            raise MemberGone(f"etcd's member {endpoint} does not answer") from None
        except (HttpError, Elsewhere) as error:
            self.leave(at)
            raise _elsewhere(endpoint, error) from error
        except (msgspec.MsgspecError, ValueError) as error:
            raise EtcdError(f"{endpoint} does not answer like etcd's JSON gateway: {error}") from error

    def _took(self, seconds: float) -> None:
        """An answer has: four times as much is waited for from now on, or a little less than until now."""
        self._patience = min(ANSWER_S, max(FIRST_ANSWER_S, 4 * seconds, self._patience * CALMER))

    async def _log_in(self, token: str) -> None:
        """Gets another token than this one, unless somebody has."""
        async with self._login:
            if self._token == token:
                self._token = ""
                asked = encode({"name": self._access.user or "", "password": self._access.password})
                self._token = (await self._call("/v3/auth/authenticate", asked, TokenAnswer)).token

    def _watched(self, endpoint: str, line: bytes) -> Watched:
        try:
            told = decode(line, WatchLine)
        except (msgspec.MsgspecError, ValueError) as error:
            raise EtcdError(f"{endpoint} does not answer like etcd's JSON gateway: {error}") from error
        if told.error is not None:
            raise _as_error(endpoint, told.error)
        watched = told.result or Watched()
        if watched.canceled and watched.compact_revision:
            raise Compacted(f"etcd keeps nothing before revision {watched.compact_revision}")
        if watched.canceled:
            raise _as_error(endpoint, Refusal(watched.cancel_reason or "the watch was cancelled", code=_UNAVAILABLE))
        return watched


class Attempts:
    """At one piece of work. That a member is gone is not worth telling as long as another one is there, and is not
    what is told if one has said what is wrong with etcd."""

    def __init__(self, client: EtcdClient, work: str, members: int) -> None:
        self._client = client
        self._work = work
        self._members = members
        self._since: float | None = asyncio.get_running_loop().time()
        """When what fails was begun; None: not known before it fails."""
        self._failures = 0
        self._pause = FIRST_PAUSE_S
        self._trouble: str | None = None
        """Of etcd as a whole."""

    def succeeded(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE_S
        self._since = self._trouble = None
        self._client.report(self._work, None)

    async def failed(self, error: EtcdError) -> None:
        """Returns when the next attempt is due."""
        now = asyncio.get_running_loop().time()
        self._since = now if self._since is None else self._since
        self._failures += 1
        if not isinstance(error, MemberGone):
            self._trouble = str(error)
        if not isinstance(error, Elsewhere) or self._failures >= self._members or now - self._since > QUIET_S:
            self._client.report(self._work, self._trouble or str(error))
        await self._client.pause(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)


async def _lines(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    rest = bytearray()
    async for part in parts:
        rest += part
        if b"\n" in part:
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if line.strip():
                    yield bytes(line)
        if len(rest) > MOST_LINE:
            raise EtcdError(f"an answer of etcd has more than {MOST_LINE} bytes")


def _refusal(endpoint: str, answer: Answer) -> EtcdError:
    """Of a plain request; or of a stream, where it is one level deeper."""
    try:
        refused = decode(answer.body, Refused)
    except (msgspec.MsgspecError, ValueError):
        if b"CommonName of client" in answer.body:
            return EtcdError(
                "with users, etcd's gateway takes no client certificate with a common name: use one without, or none"
            )
        said = "".join(each if each.isprintable() else " " for each in answer.body[:80].decode("ascii", "replace"))
        return EtcdError(f"{endpoint} does not answer like etcd's JSON gateway: HTTP {answer.status}, {said}")
    if isinstance(refused.error, Refusal):
        return _as_error(endpoint, refused.error)
    return _as_error(endpoint, Refusal(refused.message or refused.error, refused.code))


def _as_error(endpoint: str, refusal: Refusal) -> EtcdError:
    said = refusal.message
    code = refusal.grpc_code or refusal.code
    if "auth token" in said or code == _UNAUTHENTICATED or "revision of auth store is old" in said:
        return Unauthenticated("etcd has forgotten this node's login")
    if code == _OUT_OF_RANGE and "compacted" in said:
        return Compacted("what is asked for is older than what etcd keeps")
    words = next((hint for part, hint in _HINTS if part in said), f"{endpoint}: {said.removeprefix('etcdserver: ')}")
    return Elsewhere(words) if code in _PASSING else EtcdError(words)


def _elsewhere(endpoint: str, error: Exception) -> Elsewhere:
    return error if isinstance(error, Elsewhere) else MemberGone(f"etcd's member {endpoint} {error}")
