"""Changes an input a little: its bytes, or what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.target import Form
from tests.fuzz.trees import mutated_json, mutated_msgpack

MOST_BYTES = 64 * 1024

_BYTES = (0x00, 0x01, 0x0A, 0x0D, 0x1B, 0x20, 0x22, 0x5C, 0x7B, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xDF, 0xFE, 0xFF)
_WORDS = (
    b"-1", b"0", b"1e999", b"NaN", b"4294967296", b"99999999999999999999", b"\xff\xfe", b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80", b"\x1b[31m", b"\x1b]0;t\x07", b"\xe2\x80\xae", b"\x00", b"null", b"{}", b"[]", b'""', b"--force",
    b"~nobody", b"../..", b"/dev/null", b"%s%n", b"\\ud800", b"[" * 3000, b'{"a":' * 3000, b"\x91" * 1300, b"x" * 5000,
)
"""What is read differently by somebody, somewhere."""


def mutate(data: bytes, form: Form, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """`others` are inputs of which it may take a part."""
    for _ in range(random.choice((1, 1, 2, 4))):
        data = _once(data, form, random, others)[:MOST_BYTES]
    return data


def _once(data: bytes, form: Form, random: Random, others: Sequence[bytes]) -> bytes:
    if form is not Form.BYTES and random.randrange(4):
        changed = _BY_FORM[form](data, random)
        if changed is not None:
            return changed
    if others and not random.randrange(6):
        other = random.choice(others)
        return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]
    return random.choice(_OF_BYTES)(data, random)


def _span(data: bytes, random: Random) -> tuple[int, int]:
    begin = random.randint(0, len(data))
    return begin, min(len(data), begin + random.choice((1, 2, 4, 8, 64)))


def _put(data: bytes, begin: int, end: int, instead: bytes) -> bytes:
    return data[:begin] + instead + data[end:]


def _flip(data: bytes, random: Random) -> bytes:
    if not data:
        return b"\x00"
    at = random.randrange(len(data))
    return _put(data, at, at + 1, bytes((data[at] ^ 1 << random.randrange(8),)))


def _overwrite(data: bytes, random: Random) -> bytes:
    begin, end = _span(data, random)
    return _put(data, begin, end, bytes(random.choice(_BYTES) for _ in range(begin, end)))


def _insert(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    return _put(data, at, at, bytes((random.choice(_BYTES),)) * random.choice((1, 1, 3, 40)))


def _insert_word(data: bytes, random: Random) -> bytes:
    begin, end = _span(data, random)
    return _put(data, begin, random.choice((begin, end)), random.choice(_WORDS))


def _remove(data: bytes, random: Random) -> bytes:
    begin, end = _span(data, random)
    return _put(data, begin, end, b"")


def _repeat(data: bytes, random: Random) -> bytes:
    begin, end = _span(data, random)
    return _put(data, begin, begin, data[begin:end] * random.choice((1, 2, 30)))


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


_OF_BYTES: Sequence[Callable[[bytes, Random], bytes]] = (
    _flip, _flip, _overwrite, _insert, _insert_word, _remove, _repeat, _cut,
)


def _mutated_lines(data: bytes, random: Random) -> bytes | None:
    lines = data.split(b"\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            words = lines[at].split(b" ")
            words[random.randrange(len(words))] = random.choice((random.choice(_WORDS), lines[other].split(b" ")[-1]))
            lines[at] = b" ".join(words)
    return b"\n".join(lines)


_BY_FORM: dict[Form, Callable[[bytes, Random], bytes | None]] = {
    Form.MSGPACK: mutated_msgpack, Form.JSON: mutated_json, Form.LINES: _mutated_lines,
}
