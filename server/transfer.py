"""Conversations as files: for people (Markdown) or for importing (JSON). Everything here may block."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET

from api.base import builtins
from api.conversation import SYNTHESIS, Conversation, Response, cut_words, made_words
from api.safe_text import DANGEROUS, one_line, visible
from config.files import UnusableFile, read_whole, require_replaceable, shown_path
from kvstore.conversation import Cut
from kvstore.operations import Import, ImportInFull
from kvstore.packed_turns import MAX_PARTS, Restored, RestoredInFull, RestoredTurn, in_plain, pack, says_more
from kvstore.rules import MAX_PACKED_BYTES, check, check_context, check_turn

FORMAT = "consensusllm-conversation"
VERSION = 1
MAX_FILE_BYTES = 16 * 1024 * 1024
_MAX_OBJECTS, _MAX_STRINGS = 10 * MAX_PARTS, 100 * MAX_PARTS
"""In a file. An export has fewer of them for each turn and response."""
_STRING_OR_OBJECT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|\{', re.DOTALL)
"""In JSON. A string that does not end goes to the end, so that each byte is looked at once."""

_OBJECT = ord("{")
_MARKDOWN = (".md", ".markdown")
_JSON = (".json",)


class TransferError(Exception):
    """Says in one sentence why a file cannot be written or read."""


class Wanted(msgspec.Struct, frozen=True):
    """The content of an export: one operation that imports all of it."""

    operation: Import
    turns: int
    """How many."""
    given_up: list[int]
    """Numbers of the turns that were open at the export."""


class _Response(msgspec.Struct):
    text: str | None = None
    error: str | None = None
    model: str = ""
    seconds: float = 0.0
    cut: Cut | None = None
    cut_at: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    by: int = 0
    out_of: tuple[int, ...] = ()


class _Turn(msgspec.Struct):
    query: str
    kind: Literal["query", "ask"] = "query"
    candidates: dict[int, _Response] = {}
    chosen: int | None = None
    cancelled: bool = False


class _File(msgspec.Struct):
    format: str
    version: int
    context: str
    turns: list[_Turn]
    title: str = ""
    system: str = ""


def write(conversation: Conversation, target: str, force: bool) -> Path:
    """Writes a conversation to the file `target`, as its suffix says, whole or not at all; returns its
    absolute path. Raises TransferError."""
    path = path_of(target)
    suffix = path.suffix.lower()
    if suffix in _MARKDOWN:
        content = to_markdown(conversation)
    elif suffix in _JSON:
        content = to_json(conversation)
    else:
        raise TransferError(f"'{one_line(path.name)}' must end in .md (for reading) or .json (for importing)")
    try:
        require_replaceable(path, force)
        _write_whole(path, content, force)
    except FileExistsError:
        raise TransferError(f"the file {shown_path(path)} already exists: --force overwrites it") from None
    except UnusableFile as error:
        raise TransferError(f"cannot write {shown_path(path)}: {error}") from error
    except OSError as error:
        raise TransferError(f"cannot write {shown_path(path)}: {error.strerror or error}") from error
    return path


def read(source: str, context: str | None, chosen_only: bool = False) -> Wanted:
    """Reads an export; its conversation gets the name `context` instead of its own. Raises TransferError."""
    path = path_of(source)
    try:
        content = read_whole(path, MAX_FILE_BYTES)
    except UnusableFile as error:
        raise TransferError(f"cannot read {shown_path(path)}: {error}") from error
    try:
        return parse(content, context, chosen_only)
    except TransferError as error:
        raise TransferError(f"{shown_path(path)}: {error}") from None


def parse(content: bytes, context: str | None = None, chosen_only: bool = False) -> Wanted:
    """Like `read`, of a file's content. Everything is checked here, before anything is proposed. Raises
    TransferError."""
    _bound_work(content, chosen_only)
    try:
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = one_line(str(error))
        raise TransferError(f"this is not a conversation exported by `export C FILE.json` ({reason})") from None
    if (file.format, file.version) != (FORMAT, VERSION):
        raise TransferError(f'"format" and "version" must be "{FORMAT}" and {VERSION}')
    name = context if context is not None else file.context
    problem = check_context(name)
    if problem is not None:
        raise TransferError(problem)
    if sum(1 + len(_responses(turn, chosen_only)) for turn in file.turns) > MAX_PARTS:
        raise _too_many(chosen_only)
    turns = [_restored(number, turn, chosen_only) for number, turn in enumerate(file.turns, 1)]
    operation = Import(name, pack(in_plain(turns)))
    if file.title or file.system or says_more(turns):
        operation = ImportInFull(name, pack(turns), title=file.title, system=file.system)
    size = len(operation.turns)
    if size > MAX_PACKED_BYTES:
        way_out = "" if chosen_only else "; with --chosen, only the chosen answers are imported"
        raise TransferError(
            f"the conversation is too large for one operation: {size} bytes when compressed, at most "
            f"{MAX_PACKED_BYTES} are allowed{way_out}"
        )
    problem = check(operation)
    if problem is not None:
        raise TransferError(problem)
    given_up = [number for number, t in enumerate(file.turns, 1) if t.chosen is None and not t.cancelled]
    return Wanted(operation, len(turns), given_up)


def _bound_work(content: bytes, chosen_only: bool) -> None:
    """Refuses what takes long to decode: that is a single step, in which nothing else happens at this node. Raises
    TransferError."""
    objects = strings = 0
    for token in _STRING_OR_OBJECT.finditer(content):
        if content[token.start()] == _OBJECT:
            objects += 1
        else:
            strings += 1
        if objects > _MAX_OBJECTS or strings > _MAX_STRINGS:
            raise _too_many(chosen_only)


def _too_many(chosen_only: bool) -> TransferError:
    way_out = "" if chosen_only else "; with --chosen, only the chosen answers are imported"
    return TransferError(
        f"the conversation is too large for one operation: at most {MAX_PARTS} turns and responses are allowed{way_out}"
    )


def _restored(number: int, turn: _Turn, chosen_only: bool) -> RestoredTurn:
    """Raises TransferError."""
    responses: list[Restored] = [
        RestoredInFull(
            node, said.text, said.error, said.model, said.seconds, said.cut, said.cut_at, said.tokens_in,
            said.tokens_out, said.by, said.out_of,
        ) for node, said in _responses(turn, chosen_only)
    ]
    restored = RestoredTurn(turn.kind, turn.query, responses, turn.chosen)
    problem = check_turn(restored)
    if problem is not None:
        raise TransferError(f"turn {number}: {problem}")
    return restored


def _responses(turn: _Turn, chosen_only: bool) -> list[tuple[int, _Response]]:
    """Those that are imported."""
    return [(node, said) for node, said in turn.candidates.items() if not chosen_only or node == turn.chosen]


def to_json(conversation: Conversation) -> str:
    record = {"format": FORMAT, "version": VERSION, **builtins(conversation)}
    return DANGEROUS.sub(_escape, json.dumps(record, ensure_ascii=False, indent=1)) + "\n"


def to_markdown(conversation: Conversation) -> str:
    """For people: the questions as headings, the chosen answers below them, the others collapsed."""
    parts = [f"# {visible(conversation.context)}"]
    if conversation.title is not UNSET:
        parts.append(f"**{one_line(conversation.title)}**")
    if conversation.system is not UNSET:
        parts.append("\n".join(f"> {line}" for line in visible(conversation.system).split("\n")))
    for number, turn in enumerate(conversation.turns, 1):
        heading, *more = visible(turn.query).strip().split("\n")
        parts.append(f"## {number}. {heading}")
        parts += ["\n".join(more).strip()] if any(line.strip() for line in more) else []
        chosen = None if turn.chosen is None else turn.candidates.get(turn.chosen)
        if turn.chosen is not None and chosen is not None:
            parts.append(f"**{_who(turn.chosen, chosen)}, chosen:**\n\n{_body(chosen)}")
        else:
            parts.append("*Cancelled.*" if turn.cancelled else "*Open.*")
        parts += [
            f"<details><summary>{_who(node, said)}</summary>\n\n{_body(said)}\n\n</details>"
            for node, said in turn.candidates.items() if said is not chosen
        ]
    return "\n\n".join(parts) + "\n"


def _body(said: Response) -> str:
    text = f"*No answer: {one_line(said.error, 300)}*" if said.error is not UNSET else said.text
    if text is UNSET:
        return ""
    return visible(text).strip() + ("" if said.cut is UNSET else f" *({cut_words(said.cut, said.cut_at)})*")


def _who(node: int, said: Response) -> str:
    model = re.sub(r"[<>&*`]", "", one_line(said.model))
    who = f"Node {node}" if node != SYNTHESIS else f"Synthesis{made_words(said.by, said.out_of)}"
    return who + (f" ({model})" if model else "")


def _escape(match: re.Match[str]) -> str:
    return match.group() if match.group() in "\n\t" else json.dumps(match.group())[1:-1]


def path_of(name: str) -> Path:
    """The absolute path of a file that a user names. Raises TransferError."""
    try:
        if "\0" in name:
            raise ValueError("it contains a NUL")
        name.encode()  # half a character cannot be part of what is told about the file
        return Path(os.path.abspath(Path(name.strip()).expanduser()))
    except UnicodeEncodeError:
        raise TransferError(f"'{one_line(name)}' is not a file name: it is not valid Unicode") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise TransferError(f"'{one_line(name)}' is not a file name: {error}") from None


def _write_whole(path: Path, content: str, force: bool) -> None:
    """Raises OSError, or FileExistsError if the file exists and must not be replaced."""
    if not force:
        path.touch(exist_ok=False)  # the file is ours now
    descriptor, temporary = tempfile.mkstemp(prefix=".export-", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        if not force:
            path.unlink(missing_ok=True)
        raise
