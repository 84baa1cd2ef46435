"""Nothing that comes in a message, or from a disk, is without a bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

from kvstore.operations import AboutTurn, Cancel, StoreOperation
from kvstore.payloads import decode
from net.control_messages import FromNode, FromOrchestrator
from paxos.ballot import Ballot
from paxos.bounds import MOST_COUNT, MOST_PID
from paxos.configuration import read_stop_sign, stop_sign
from paxos.messages import AnyMessage, Configuration, Forward, Heartbeat, NodeState, Operation, Prepare
from storage.tables import State

DEEP = b"\x91" * 100_000 + b"\x01"
"""Of msgpack: an array in an array in an array..."""


def unbounded(kind: msgspec.inspect.Type, path: str, seen: set[type]) -> Iterator[str]:
    """The paths of all that may be as large as anybody likes. (Texts and bytes are bounded by their frame.)"""
    match kind:
        case msgspec.inspect.IntType(ge=ge, le=le):
            if ge is None or (le is None and not path.endswith(".digest[1]")):
                yield path
        case msgspec.inspect.FloatType(ge=ge, le=le):
            if ge is None or le is None:
                yield path
        case msgspec.inspect.ListType(item_type=item, max_length=most) | msgspec.inspect.VarTupleType(
            item_type=item, max_length=most
        ):
            if most is None:
                yield path
            yield from unbounded(item, path + "[]", seen)
        case msgspec.inspect.DictType(key_type=key, value_type=value, max_length=most):
            if most is None:
                yield path
            yield from unbounded(key, path + "{key}", seen)
            yield from unbounded(value, path + "{value}", seen)
        case msgspec.inspect.TupleType(item_types=items) | msgspec.inspect.UnionType(types=items):
            for number, item in enumerate(items):
                yield from unbounded(item, f"{path}[{number}]", seen)
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            if cls not in seen:
                seen.add(cls)
                for field in fields:
                    yield from unbounded(field.type, f"{cls.__name__}.{field.name}", seen)
        case msgspec.inspect.AnyType() | msgspec.inspect.RawType():
            yield path


@pytest.mark.parametrize("carried", [AnyMessage, FromNode, FromOrchestrator], ids=["nodes", "node", "orchestrator"])
def test_every_number_and_every_length_in_a_message_is_bounded(carried: Any) -> None:
    found = set(unbounded(msgspec.inspect.type_info(carried), "", set()))
    assert found <= {"Challenge.version", "Hello.version"}, "only what is merely compared may be anything"


def test_what_a_message_may_say_a_disk_can_take() -> None:
    """A number that SQLite, or the next reader of the file, refuses would stop a node for good."""
    found = set(unbounded(msgspec.inspect.type_info(State), "", set()))
    assert found <= {"State.pid"}, "it is compared with the node's own number"
    assert MOST_COUNT + 1 < 2**63


@pytest.mark.parametrize("number", [-1, MOST_COUNT + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_number_out_of_bounds_is_no_message(number: int) -> None:
    for message in (Prepare(Ballot(number, 1, 1)), Forward([Operation(1, 1, number, b"")])):
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=AnyMessage)


@pytest.mark.parametrize("clock", [float("inf"), float("-inf"), float("nan")])
def test_a_time_is_a_number(clock: float) -> None:
    state = NodeState(1, (1, 1), 1, (), (0, 0), False, (0, 0), 0, True, False)
    for beat in (Heartbeat([], {}, clock, {}), Heartbeat([], {}, 0.0, {1: (0.0, clock)}),
                 Heartbeat([msgspec.structs.replace(state, commit_s=clock)], {}, 0.0, {})):
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(msgspec.msgpack.encode(beat), type=AnyMessage)


@pytest.mark.parametrize("kind", get_args(StoreOperation), ids=lambda kind: kind.__name__)
def test_what_stands_behind_an_operation_is_refused_however_deep_it_is(kind: Any) -> None:
    """All nodes refuse it, whatever their interpreters can look into."""
    plain: dict[str, Any] = {
        "order": [], "context": "c", "text": "t", "error": "e", "model": "", "thoughts": "", "cut": None, "key": "k",
        "history": None, "title": "t", "name": "n", "source": "s",
        "system": "s",
    }
    typed: dict[Any, Any] = {bytes: b"", bool: False, AboutTurn: [Cancel.__struct_config__.tag, "c", None, 0]}
    values = (
        get_args(field.type)[0] if get_origin(field.type) is Literal
        else typed.get(field.type, plain.get(field.name, 1)) for field in msgspec.structs.fields(kind))
    whole = [kind.__struct_config__.tag, *values]
    assert isinstance(decode(msgspec.msgpack.encode(whole)), kind)
    for extra in (DEEP, b"\x01"):
        head = bytes((0x90 + len(whole) + 1,)) if len(whole) < 15 else bytes((0xDC, 0, len(whole) + 1))
        payload = head + b"".join(map(msgspec.msgpack.encode, whole)) + extra
        with pytest.raises(ValueError, match="not a command") as refused:
            decode(payload)
        assert f"at most length {len(whole) - 1}, got" in str(refused.value.__cause__)


def test_a_stop_sign_is_read_alike_everywhere() -> None:
    named = Configuration(1, 2**62, {1: 5, MOST_PID: -1})
    sign = stop_sign(named)
    assert read_stop_sign(sign) == named
    longer = bytes((sign.payload[0] + 1,)) + sign.payload[1:]
    for payload in (longer + DEEP, longer + b"\x01", DEEP, stop_sign(Configuration(1, 2**62, {0: 5})).payload,
                    stop_sign(Configuration(1, 2**62, {MOST_PID + 1: 5})).payload,
                    stop_sign(Configuration(2**63, 2**62, {1: 5})).payload):
        assert read_stop_sign(Operation(0, 1, 0, payload)) is None
