"""What goes to etcd's JSON gateway, and what comes back: keys and values in base64, 64-bit numbers as strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

Json: TypeAlias = dict[str, Any]
T = TypeVar("T")


class Header(msgspec.Struct, frozen=True):
    revision: int = 0


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """The gateway leaves out what is empty."""

    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    lease: int = 0


class RangeAnswer(msgspec.Struct, frozen=True):
    header: Header = Header()
    kvs: list[KeyValue] = []
    more: bool = False
    count: int = 0


class _TxnPart(msgspec.Struct, frozen=True):
    response_range: RangeAnswer = RangeAnswer()


class TxnAnswer(msgspec.Struct, frozen=True):
    header: Header = Header()
    succeeded: bool = False
    responses: list[_TxnPart] = []

    def range(self, index: int) -> RangeAnswer:
        """The answer to the request of this index, a range."""
        return self.responses[index].response_range

    def value(self) -> KeyValue:
        """Of a single key that was asked for; all empty if it is not there."""
        kvs = self.range(0).kvs
        return kvs[0] if kvs else KeyValue()


class LeaseAnswer(msgspec.Struct, frozen=True):
    ID: int = 0
    TTL: int = 0


class KeepAliveAnswer(msgspec.Struct, frozen=True):
    result: LeaseAnswer = LeaseAnswer()


class TokenAnswer(msgspec.Struct, frozen=True):
    token: str = ""


class DoneAnswer(msgspec.Struct, frozen=True):
    """Of a request that only succeeds or fails."""


class Event(msgspec.Struct, frozen=True):
    kv: KeyValue
    type: str = "PUT"


class Watched(msgspec.Struct, frozen=True):
    events: list[Event] = []
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """A gRPC code, and words."""

    message: str = ""
    code: int = 2
    grpc_code: int = 0
    """As streams of 3.4 and 3.5 call it."""


class Refused(msgspec.Struct, frozen=True):
    """The body of an answer that is none: of a plain request; of a stream, one level deeper."""

    error: Refusal | str = ""
    message: str = ""
    code: int = 2


class WatchLine(msgspec.Struct, frozen=True):
    result: Watched | None = None
    error: Refusal | None = None


def encode(request: Json) -> bytes:
    return msgspec.json.encode(request)


def decode(body: bytes | bytearray, answer: type[T]) -> T:
    """Raises msgspec.MsgspecError, ValueError."""
    return msgspec.json.decode(body, type=answer, strict=False)


# ---- Requests

MOST_VALUE: Final = 256 * 1024
"""Values are made no larger, unless a single operation or row is: a request may have 1.5 MB, by default."""

PUT, DELETE = "request_put", "request_delete_range"


def put(key: bytes, value: bytes, lease: int = 0) -> Json:
    return {PUT: {"key": key, "value": value, "lease": lease} if lease else {"key": key, "value": value}}


def delete(key: bytes, end: bytes = b"") -> Json:
    return {DELETE: {"key": key, "range_end": end} if end else {"key": key}}


def get(key: bytes, end: bytes = b"", **options: object) -> Json:
    return {"request_range": {"key": key, "range_end": end, **options} if end else {"key": key, **options}}


def has_value(key: bytes, value: bytes) -> Json:
    return {"key": key, "target": "VALUE", "result": "EQUAL", "value": value}


def unchanged(key: bytes, mod_revision: int) -> Json:
    """Since this revision; 0: it is not there."""
    return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": mod_revision}


def txn(compare: Sequence[Json], success: Sequence[Json], failure: Sequence[Json] = ()) -> bytes:
    return encode({"compare": compare, "success": success, "failure": failure})


def end_of(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
