"""Commands: their bytes and their limits."""

from __future__ import annotations

import random
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore import operations
from kvstore.conversation import Cut
from kvstore.operations import (
    OPERATIONS_VERSION,
    Answer,
    AnswerInFull,
    Ask,
    Cancel,
    Candidate,
    CandidateInFull,
    Choose,
    Create,
    IfCreatedAt,
    Import,
    Query,
    Retry,
    StoreOperation,
    not_understood,
)
from kvstore.packed_turns import MAX_UNPACKED_BYTES, Restored, RestoredTurn, pack, unpack
from kvstore.payloads import UnknownOperation, decode, encode
from kvstore.rules import MAX_MODEL_BYTES, MAX_PACKED_BYTES, MAX_TEXT_BYTES, check, check_text
from paxos.limits import Limits

ANSWERED = RestoredTurn(
    "query", "why?", [Restored(2, "because", None, "model", 1.5), Restored(3, None, "no network")], 2
)
GIVEN_UP = RestoredTurn("ask", "who?", [], None)

COMMANDS: list[StoreOperation] = [
    Create("c1"),
    Query("c1", "why?"),
    Candidate("c1", 1, 2, "because", None, "model", 1.5),
    Candidate("c1", 1, 2, None, "no network", "model", 0.0),
    CandidateInFull("c1", 1, 2, "In addition to", None, "model", 30.0, thoughts="hm", cut=Cut.TIME, cut_at=30.0),
    AnswerInFull("c1", 1, 2, "me", None, "model", 30.0, thoughts="hm"),
    Choose("c1", 2),
    Choose("c1", 2, 7),
    Ask("c1", "who?"),
    Answer("c1", 2, 3, "me", None, "model", 0.25),
    Cancel("c1"),
    Cancel("c1", 4),
    Import("c1", pack([ANSWERED, GIVEN_UP])),
    Import("c1", pack([])),
    Create("c1", at=1_700_000_000_000),
    IfCreatedAt(7, Choose("c1", 2, 7), at=1_700_000_000_000),
    IfCreatedAt(7, CandidateInFull("c1", 1, 2, "so", None, thoughts="hm")),
    Candidate("c1", 1, 2, "because", None, "model", 1.5, at=1_700_000_000_000),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_survives_its_bytes(command: StoreOperation) -> None:
    assert check(command) is None
    assert decode(encode(command)) == command


@pytest.mark.parametrize("context", ["a", "a" * 64, "Grüße", "会話", "'quoted'", "-x", "🙂", "é" * 64])
def test_printable_context_ids_are_taken(context: str) -> None:
    assert check(Create(context)) is None


@pytest.mark.parametrize(
    "context",
    [
        "", "a" * 65, "a b", "a\n", "\t", "\x1b[31m", "a\x7f",
        "a\u202eb", "a\u200b", "\u3000", "\ud800", "\ufeff", "\u00a0",
    ],
)
def test_other_context_ids_are_refused(context: str) -> None:
    error = check(Create(context))
    assert error is not None and "context id" in error


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u200b\u2060", "\u3000", "\ufeff", "\x00"])
def test_blank_texts_are_refused(text: str) -> None:
    assert check(Query("c", text)) == "the text is blank"


def test_texts_are_measured_in_bytes() -> None:
    assert check_text("x" * MAX_TEXT_BYTES) is None
    assert check_text("é" * (MAX_TEXT_BYTES // 2)) is None
    error = check(Ask("c", "é" * (MAX_TEXT_BYTES // 2) + "x"))
    assert error == f"the text is too long: {MAX_TEXT_BYTES + 1} bytes, at most {MAX_TEXT_BYTES} are allowed"


def test_lone_surrogates_are_refused() -> None:
    assert check(Query("c", "a\ud800b")) == "the text is not valid Unicode"
    assert check(Candidate("c", 1, 1, None, "\udfff")) == "the error is not valid Unicode"
    assert check(Candidate("c", 1, 1, "x", None, "\udfff")) == "the model's name is not valid Unicode"
    with pytest.raises(ValueError, match="not valid Unicode"):
        encode(Query("c", "\ud800"))


@pytest.mark.parametrize(
    "command",
    [
        Candidate("c", 1, 1, None, None),
        CandidateInFull("c", 1, 1, None, None),
        CandidateInFull("c", 1, 1, "text", None, thoughts="\ud800"),
        CandidateInFull("c", 1, 1, "text", None, thoughts="x" * 65_537),
        AnswerInFull("c", 1, 1, "text", None, cut=Cut.TIME, cut_at=-1.0),
        AnswerInFull("c", 1, 1, "text", None, cut=Cut.TIME, cut_at=float("inf")),
        Candidate("c", 1, 1, "text", "error"),
        Candidate("c", 0, 1, "text", None),
        Candidate("c", 2**32, 1, "text", None),
        Candidate("c", 1, 0, "text", None),
        Candidate("c", 1, 70_000, "text", None),
        Candidate("c", 1, -1, "text", None),
        Candidate("c", 1, 1, "text", None, "m", float("nan")),
        Candidate("c", 1, 1, "text", None, "m", float("inf")),
        Candidate("c", 1, 1, "text", None, "m", -1.0),
        Candidate("c", 1, 1, "text", None, "m" * (MAX_MODEL_BYTES + 1)),
        Answer("c", 1, 1, " ", None),
        Answer("c", 1, 1, None, ""),
        Choose("c", -1),
        Choose("c", 1, 0),
        Cancel("c", 0),
        IfCreatedAt(0, Cancel("c")),
        IfCreatedAt(2**53 + 1, Cancel("c")),
        IfCreatedAt(1, Cancel("c", 0)),
        IfCreatedAt(1, Cancel("")),
        Create("c", at=-1),
        Create("c", at=2**60),
        Import("c", b""),
        Import("c", pack([GIVEN_UP])[:-1]),
        Import("c", pack([GIVEN_UP]) + b"x"),
        Import("c", zlib.compress(b"no turns")),
        Import("c", random.Random(1).randbytes(MAX_PACKED_BYTES + 1)),
        Import("c", zlib.compress(bytes(MAX_UNPACKED_BYTES + 1))),
        *(
            Import("c", pack([ANSWERED, RestoredTurn("query", *fields)]))
            for fields in (
                (" ", [], None),
                ("why?", [Restored(1, None, None)], None),
                ("why?", [Restored(0, "x", None)], None),
                ("why?", [Restored(1, "x", None), Restored(1, "y", None)], None),
                ("why?", [Restored(1, "x", None)], 2),
                ("why?", [Restored(1, None, "x")], 1),
            )
        ),
    ],
)
def test_malformed_commands_are_refused(command: StoreOperation) -> None:
    assert check(command)
    with pytest.raises(ValueError):
        encode(command)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        encode(Create("c"))[:-1],
        encode(Create("c")) + b"\x00",
        b"\x92\x01\xa1\xff",  # not UTF-8
        b"\x92\x01\xa3\xed\xa0\x80",  # a surrogate's bytes
        b"\x91" * 5000,
        msgspec.msgpack.encode([-1, "c"]),
        b"\x92\xce\x00\x00",
        msgspec.msgpack.encode([1]),
        msgspec.msgpack.encode([4, "c", 2**63 + 5, "x"]),
        msgspec.msgpack.encode([13, "c", 1]),
        msgspec.msgpack.encode([1, "c", "soon"]),
        msgspec.msgpack.encode({"type": 1, "context": "c"}),
    ],
)
def test_bytes_that_are_no_command(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a command"):
        decode(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_none_or_of_a_later_release(payload: bytes) -> None:
    try:
        command = decode(payload)
    except (ValueError, UnknownOperation):
        return
    check(command)


@given(st.text(st.characters(), max_size=70))
def test_check_never_raises(text: str) -> None:
    if check(Query(text, text)) is None:
        assert text.isprintable() or text.isascii() is False
        assert decode(encode(Query(text, text))) == Query(text, text)


def test_commands_of_before_they_were_dated_are_understood() -> None:
    assert decode(msgspec.msgpack.encode([1, "c1"])) == Create("c1")


def test_an_import_fits_into_an_operation_and_says_what_is_wrong_with_it() -> None:
    assert Limits().operation_bytes > MAX_PACKED_BYTES + 1024
    assert unpack(pack([ANSWERED, GIVEN_UP])) == [ANSWERED, GIVEN_UP]
    wrong = RestoredTurn("query", "why?", [Restored(1, "x", None)], 2)
    assert check(Import("c", pack([ANSWERED, wrong]))) == "turn 2: node 2 is chosen, but has no answer"
    huge = [RestoredTurn("query", "x" * MAX_TEXT_BYTES, [], None)] * 40
    assert len(pack(huge)) < MAX_PACKED_BYTES, "it is what comes out that is too much"
    assert check(Import("c", pack(huge))) == f"all turns together exceed {MAX_UNPACKED_BYTES} bytes"


@given(st.binary(max_size=100))
def test_any_bytes_are_turns_or_a_value_error(packed: bytes) -> None:
    for odd in (packed, zlib.compress(packed)):
        check(Import("c", odd))


def test_what_some_node_does_not_know_is_not_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not_understood(Create("c"), lambda: {1: 1, 2: 1}) is None
    monkeypatch.setattr(operations, "_NEEDED", {Retry: 2})
    monkeypatch.setattr(operations, "RELEASES", {1: "0.1.0", 2: "0.2.0"})
    versions = {1: 2, 2: 2, 3: 1}
    assert not_understood(Create("c"), lambda: versions) is None
    refusal = not_understood(Retry("c"), lambda: versions)
    assert refusal == "`retry` needs all nodes to run release 0.2.0; node 3 runs 0.1.0"
    assert not_understood(Retry("c"), lambda: {**versions, 3: 2**63}) is None
    assert not_understood(Retry("c"), lambda: {**versions, 2: -5}) is not None


def test_every_kind_of_operation_has_a_release() -> None:
    assert max(operations.RELEASES) == OPERATIONS_VERSION
    assert set(operations._NEEDED.values()) <= set(operations.RELEASES)
    assert not_understood(CandidateInFull("c", 1, 1, "x", None), lambda: {1: 2, 2: 1}) is not None
