"""Conversations as files."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.conversation import Conversation
from kvstore.conversation import SYNTHESIS, Cut
from kvstore.operations import (
    Candidate,
    Choose,
    Create,
    Import,
    ImportInFull,
    Query,
    Synthesize,
    Synthesized,
    plainer,
)
from kvstore.packed_turns import MAX_PARTS, Restored, RestoredInFull, unpack
from kvstore.rules import check
from server import backup
from server.backup import Backup, BackupError
from server.records import conversation_record, response_fields
from server.transfer import TransferError, parse, path_of, read, to_json, to_markdown, write
from tests.unit.kvstore.test_ask_once import Log

TALK = msgspec.convert({
    "context": "c1",
    "turns": [
        {
            "query": "Why?\nTell me.", "kind": "query", "chosen": 2, "cancelled": False,
            "candidates": {
                "1": {"text": "No idea.", "model": "<m>", "seconds": 0.5},
                "2": {"text": "Because \x1b[31m\u202e.", "model": "m", "seconds": 1.5},
                "3": {"error": "timeout", "model": "", "seconds": 30.0},
            },
        },
        {"query": "Open?", "kind": "ask", "chosen": None, "cancelled": False, "candidates": {}},
    ],
}, Conversation, strict=False)
MARKDOWN = """\
# c1

## 1. Why?

Tell me.

**Node 2 (m), chosen:**

Because ^[[31m\\u{202e}.

<details><summary>Node 1 (m)</summary>

No idea.

</details>

<details><summary>Node 3</summary>

*No answer: timeout*

</details>

## 2. Open?

*Open.*
"""


def test_markdown_is_for_people() -> None:
    assert to_markdown(TALK) == MARKDOWN


def test_json_comes_back_and_holds_nothing_that_a_terminal_obeys() -> None:
    text = to_json(TALK)
    assert "\x1b" not in text and "\u202e" not in text
    found = parse(text.encode())
    assert found.operation.context == "c1" and (found.turns, found.given_up) == (2, [2])
    first, second = unpack(found.operation.turns)
    assert (first.kind, first.text, first.chosen) == ("query", "Why?\nTell me.", 2)
    assert first.candidates[1] == Restored(2, "Because \x1b[31m\u202e.", None, "m", 1.5)
    assert first.candidates[2] == Restored(3, None, "timeout", "", 30.0)
    assert (second.kind, second.chosen, second.candidates) == ("ask", None, [])
    assert parse(text.encode(), "c7").operation.context == "c7"
    (said,) = unpack(parse(text.encode(), chosen_only=True).operation.turns)[0].candidates
    assert said.node == 2


def test_what_release_0_1_0_does_not_know_comes_back_too() -> None:
    said = {"text": "Beca", "model": "m", "seconds": 2.0, "cut": "time", "cut_at": 2.0, "tokens_in": 9, "tokens_out": 3}
    turns = [{"query": "why?", "chosen": 1, "candidates": {"1": said}}]
    content = {**json.loads(to_json(TALK)), "turns": turns}
    operation = parse(json.dumps(content).encode()).operation
    assert isinstance(operation, ImportInFull)
    (turn,) = unpack(operation.turns, in_full=True)
    assert turn.candidates == [RestoredInFull(1, "Beca", None, "m", 2.0, Cut.TIME, 2.0, 9, 3)]
    log = Log()
    assert log(operation).ok
    assert response_fields(log.store.conversations["c1"].turns[0].candidates[1]) == said
    known = plainer(operation)
    assert type(known) is Import and check(known) is None
    (turn,) = unpack(known.turns)
    assert turn.candidates == [Restored(1, "Beca", None, "m", 2.0)], "beside nodes of release 0.1.0"
    assert plainer(msgspec.structs.replace(operation, title="t")) is None, "that would be lost"
    for wrong in ({"tokens_in": -1}, {"tokens_out": 2**41}, {"cut_at": -1.0}, {"cut": "short"}):
        turns[0]["candidates"] = {"1": said | wrong}
        with pytest.raises(TransferError):
            parse(json.dumps(content | {"turns": turns}).encode())


def test_a_synthesis_comes_back_too() -> None:
    log = Log()
    for operation in (
        Create("c1"), Query("c1", "why?"), Candidate("c1", 1, 1, "one", None), Candidate("c1", 1, 3, "other", None),
        Synthesize("c1"), Synthesized("c1", 1, 2, "both", None, "m", 1.5, 1, tokens_out=3), Choose("c1", SYNTHESIS),
    ):
        assert log(operation).ok
    record = conversation_record(log.store.conversations["c1"])
    assert "**Synthesis, by node 2, out of [1], [3] (m), chosen:**\n\nboth" in to_markdown(record)
    for chosen_only in (False, True):
        other = Log()
        assert other(parse(to_json(record).encode(), chosen_only=chosen_only).operation).ok
        there, turn = log.store.conversations["c1"].turns[0], other.store.conversations["c1"].turns[0]
        assert turn.chosen == SYNTHESIS and turn.answer == there.answer, chosen_only
        assert list(turn.candidates) == ([SYNTHESIS] if chosen_only else [SYNTHESIS, 1, 3])


def test_what_is_too_large_for_one_operation_is_refused_with_a_way_out() -> None:
    noise = random.Random(1).randbytes(60_000).hex()
    said = {str(node): {"text": noise[node:]} for node in range(1, 7)}
    turns = [{"query": "why?", "chosen": 1, "candidates": said}]
    content = json.dumps({**json.loads(to_json(TALK)), "turns": turns}).encode()
    with pytest.raises(TransferError, match=r"too large for one operation: \d+ bytes when .* with --chosen"):
        parse(content)
    assert parse(content, chosen_only=True).turns == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, '"format" and "version" must be'),
        ({"version": 2}, '"format" and "version" must be'),
        ({"turns": 7}, "not a conversation exported by"),
        ({"context": "a b"}, "without spaces"),
        ({"turns": [{"query": " "}]}, "turn 1: the text is blank"),
        ({"turns": [{"query": "a", "chosen": 3}]}, "turn 1: node 3 is chosen, but has no answer"),
        ({"turns": [{"query": "a", "candidates": {"1": {}}}]}, "turn 1: an LLM's response must be either"),
        ({"turns": [{"query": "a", "candidates": {"x": {"text": "b"}}}]}, "not a conversation exported by"),
    ],
)
def test_what_is_no_export_is_refused(change: dict[str, Any], said: str) -> None:
    content = json.dumps({**json.loads(to_json(TALK)), **change}).encode()
    with pytest.raises(TransferError, match=said):
        parse(content)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"[" * 100_000])
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(TransferError, match="not a conversation exported by"):
        parse(content)


def test_a_file_is_not_overwritten_by_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(TALK, "a talk.md", force=False)
    assert path == tmp_path / "a talk.md" and path.read_text() == MARKDOWN
    path.write_text("mine")
    with pytest.raises(TransferError, match="already exists: --force overwrites it"):
        write(TALK, "a talk.md", force=False)
    assert path.read_text() == "mine"
    write(TALK, "a talk.md", force=True)
    assert path.read_text() == MARKDOWN
    assert os.listdir(tmp_path) == ["a talk.md"], "nothing is left lying about"


@pytest.mark.parametrize("name", ["talk.txt", "talk", "nowhere/talk.md", "\0.md"])
def test_files_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TransferError):
        write(TALK, name, force=False)
    with pytest.raises(TransferError):
        read(name, None)
    assert not os.listdir(tmp_path)


def export(turns: list[dict[str, Any]]) -> bytes:
    return json.dumps({"format": "consensusllm-conversation", "version": 1, "context": "c", "turns": turns}).encode()


@pytest.mark.parametrize(
    "content",
    [
        export([{"query": "a"}] * (MAX_PARTS + 1)),
        export([{"query": "a"}] * (80 * MAX_PARTS)),  # found without decoding them
        export([{"query": "a", "candidates": {str(node): {"text": "b"} for node in range(1, MAX_PARTS + 1)}}]),
        b'{"turns": [' + b'"",' * 600_000,
    ],
)
def test_more_turns_than_nodes_carry_out_in_one_step_are_refused_with_a_way_out(content: bytes) -> None:
    with pytest.raises(TransferError, match=r"at most 5000 turns and responses are allowed; with --chosen"):
        parse(content)


def test_as_many_as_are_allowed_are_imported_and_braces_in_texts_do_not_count() -> None:
    code = "{" * 100 + '"\\'
    said = {str(node): {"text": code, "model": "m"} for node in range(1, 6)}
    found = parse(export([{"query": code, "candidates": said, "chosen": 1}] * (MAX_PARTS // 6)))
    assert found.turns == MAX_PARTS // 6
    again = parse(export([{"query": code, "candidates": said, "chosen": 1}] * (MAX_PARTS // 2)), chosen_only=True)
    assert again.turns == MAX_PARTS // 2


def test_a_string_that_does_not_end_is_looked_at_once() -> None:
    began = time.process_time()
    with pytest.raises(TransferError, match="not a conversation exported by"):
        parse(b'"' + b'\\"' * 1_000_000 + b"\\")
    assert time.process_time() - began < 2


ODD_FILES: dict[str, tuple[Callable[[str], object], str]] = {
    "pipe.json": (os.mkfifo, "it is a pipe; a regular file is needed"),
    "folder.json": (os.mkdir, "it is a directory; a regular file is needed"),
    "loop.json": (lambda path: os.symlink(path, path), "Too many levels of symbolic links"),
    "null.json": (lambda path: os.symlink("/dev/zero", path), "it is a device; a regular file is needed"),
    "gone.json": (lambda path: os.symlink("nowhere", path), "No such file or directory"),
    "l" * 300 + ".json": (lambda path: None, "File name too long"),
    "\udcff.json": (lambda path: None, "is not a file name: it is not valid Unicode"),
    "\x1b]0;x\x07.json": (lambda path: None, "No such file or directory"),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_odd_files_are_neither_waited_for_nor_replaced(name: str, tmp_path: Path) -> None:
    make, words = ODD_FILES[name]
    path = str(tmp_path / name)
    make(path)
    before = os.listdir(tmp_path)
    with pytest.raises(TransferError) as read_error:
        read(path, None)
    assert words in str(read_error.value) and "\x1b" not in str(read_error.value)
    for force in (False, True):
        if "\x1b" in name:
            words = "its name contains control characters"
        elif words == "No such file or directory" or "loop" in name:
            continue  # a new file may be written there
        with pytest.raises(TransferError) as write_error:
            write(TALK, path, force)
        assert words in str(write_error.value)
        with pytest.raises((TransferError, BackupError)) as backup_error:
            backup.write(path_of(path), Backup(1, 1, []), force)
        assert words in str(backup_error.value)
    assert os.listdir(tmp_path) == before


def test_a_file_that_changes_while_it_is_read_is_not_half_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.json"
    path.write_text(to_json(TALK))
    fstat, seen = os.fstat, 0

    def changing(descriptor: int) -> os.stat_result:
        nonlocal seen
        seen += 1
        if seen == 2:
            path.write_text("{}")
        return fstat(descriptor)

    monkeypatch.setattr("config.files.os.fstat", changing)
    with pytest.raises(TransferError, match="it has changed while it was read: try again when it is complete"):
        read(str(path), None)
