"""Changes what a well-formed input says, and leaves it well-formed: MessagePack and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import msgspec

_NUMBERS = (
    0, 1, -1, 2, 3, 4, 5, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63,
    2**64 - 1, -(2**31), -(2**63), 0.5, 1e308, float("inf"), float("-inf"), float("nan"),
)
_DEEP = 600


class Place(NamedTuple):
    """A value within a tree, by what holds it."""

    holder: Any
    key: Any


def mutated_msgpack(data: bytes, random: Random) -> bytes | None:
    """None if it is no MessagePack, or cannot be any after the change."""
    try:
        return msgspec.msgpack.encode(_changed(msgspec.msgpack.decode(data), random, with_bytes=True))
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError, TypeError):
        return None


def mutated_json(data: bytes, random: Random) -> bytes | None:
    """None if there is no JSON in it: neither as a whole nor behind the first words of one of its lines."""
    changed = _changed_json(data, random)
    if changed is not None:
        return changed
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    begin = lines[at].find(b"{")
    changed = _changed_json(lines[at][begin:], random) if begin >= 0 else None
    if changed is None:
        return None
    lines[at] = lines[at][:begin] + changed
    return b"\n".join(lines)


def _changed_json(data: bytes, random: Random) -> bytes | None:
    try:
        return json.dumps(_changed(json.loads(data), random, with_bytes=False)).encode()
    except (ValueError, RecursionError):
        return None


def _changed(value: Any, random: Random, *, with_bytes: bool) -> Any:
    root = [value]
    places = list(_places(root))
    place, other = random.choice(places), random.choice(places)
    old = place.holder[place.key]
    match random.randrange(10):
        case 0 if len(places) > 1 and place.holder is not root:
            del place.holder[place.key]
        case 1:
            place.holder[place.key] = json.loads(json.dumps(other.holder[other.key], default=repr))
        case 2:
            place.holder[place.key] = _deep(old if random.randrange(2) else [], random)
        case 3 if isinstance(place.holder, list) and place.holder is not root:
            place.holder.insert(place.key, old)
        case 4 if isinstance(place.holder, dict):
            place.holder[_odd(random, with_bytes=False) if with_bytes else str(_odd(random, with_bytes=False))] = (
                place.holder.pop(place.key)
            )
        case _:
            place.holder[place.key] = _instead(old, random, with_bytes)
    return root[0]


def _places(root: list[Any]) -> Iterator[Place]:
    """At most some thousand, those nearest to the root first."""
    waiting: list[Any] = [root]
    for holder in waiting:
        keys = range(len(holder)) if isinstance(holder, list) else list(holder)
        for key in keys:
            yield Place(holder, key)
            if isinstance(holder[key], (list, dict)) and len(waiting) < 2000:
                waiting.append(holder[key])


def _instead(old: Any, random: Random, with_bytes: bool) -> Any:
    """Often of the same type, which gets further."""
    if isinstance(old, int) and random.randrange(3):
        return random.choice((random.choice(_NUMBERS), random.choice(_NUMBERS), old + 1, old - 1, -old))
    if isinstance(old, str) and random.randrange(3):
        return random.choice((old + "\x1b[2J", old * 3, old[:-1], "", old.upper(), old + "\u202e\x00", "\x9b31m" + old))
    if isinstance(old, bytes) and random.randrange(3):
        return random.choice((old[:-1], old + b"\x00", old[::-1], b"", old * 2))
    return _odd(random, with_bytes=with_bytes)


def _odd(random: Random, *, with_bytes: bool) -> Any:
    texts: list[Any] = ["", "x", "\x00\x1b]0;\x07", "\u202e\U000e0041", "\ud83d" if not with_bytes else "z", "9" * 400]
    values = [None, True, False, [], {}, *texts, *((b"", b"\xff" * 40, bytes(300)) if with_bytes else ())]
    return random.choice((random.choice(values), random.choice(_NUMBERS)))


def _deep(value: Any, random: Random) -> Any:
    for _ in range(random.choice((1, 3, _DEEP))):
        value = [value] if random.randrange(2) else {"a": value}
    return value
