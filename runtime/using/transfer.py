"""Conversations as files: written for people (Markdown) or to be read again (JSON). Everything here may block."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from console.safe import DANGEROUS, one_line, visible
from kvstore.commands import Restore, Restored, check, check_context

FORMAT = "consensusllm-conversation"
VERSION = 1
MAX_FILE_BYTES = 64 * 1024 * 1024

_MARKDOWN = (".md", ".markdown")
_JSON = (".json",)


class TransferError(Exception):
    """Says in a sentence why a file cannot be written or read."""


class Import(msgspec.Struct, frozen=True):
    """What is in an export: closed turns, to be restored one after the other."""

    context: str
    turns: list[Restore]
    given_up: list[int]
    """Numbers of the turns that were open when they were exported."""


class _Response(msgspec.Struct):
    text: str | None = None
    error: str | None = None
    model: str = ""
    seconds: float = 0.0


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


def write(conversation: Mapping[str, Any], target: str, force: bool) -> Path:
    """Writes a conversation's record to the file `target`, as its suffix says, whole or not at all; returns its
    absolute path. Raises TransferError."""
    path = _path(target)
    suffix = path.suffix.lower()
    if suffix in _MARKDOWN:
        content = to_markdown(conversation)
    elif suffix in _JSON:
        content = to_json(conversation)
    else:
        raise TransferError(f"'{one_line(path.name)}' must end in .md (to be read) or .json (to be imported)")
    if path.exists() and not force:
        raise TransferError(f"there is a file {path} already: --force overwrites it")
    try:
        _write_whole(path, content, force)
    except FileExistsError:
        raise TransferError(f"there is a file {path} already: --force overwrites it") from None
    except OSError as error:
        raise TransferError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def read(source: str, context: str | None) -> Import:
    """Reads an export; its conversation gets the name `context` instead of its own. Raises TransferError."""
    path = _path(source)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TransferError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise TransferError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return parse(content, context)
    except TransferError as error:
        raise TransferError(f"{path}: {error}") from None


def parse(content: bytes, context: str | None = None) -> Import:
    """Like `read`, of a file's content. Raises TransferError."""
    try:
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = one_line(str(error))
        raise TransferError(f"this is no conversation that `export C FILE.json` wrote ({reason})") from None
    if (file.format, file.version) != (FORMAT, VERSION):
        raise TransferError(f'"format" and "version" must be "{FORMAT}" and {VERSION}')
    name = context if context is not None else file.context
    problem = check_context(name)
    turns: list[Restore] = []
    for number, turn in enumerate(file.turns, 1):
        responses = [
            Restored(node, said.text, said.error, said.model, said.seconds) for node, said in turn.candidates.items()
        ]
        turns.append(Restore(name, number, turn.kind, turn.query, responses, turn.chosen))
        problem = problem or check(turns[-1])
        if problem is not None:
            raise TransferError(f"turn {number}: {problem}")
    if problem is not None:
        raise TransferError(problem)
    given_up = [number for number, t in enumerate(file.turns, 1) if t.chosen is None and not t.cancelled]
    return Import(name, turns, given_up)


def to_json(conversation: Mapping[str, Any]) -> str:
    record = {"format": FORMAT, "version": VERSION, **conversation}
    return DANGEROUS.sub(_escape, json.dumps(record, ensure_ascii=False, indent=1)) + "\n"


def to_markdown(conversation: Mapping[str, Any]) -> str:
    """For people: the questions as headings, the chosen answers below them, the others folded away."""
    parts = [f"# {visible(conversation['context'])}"]
    for number, turn in enumerate(conversation["turns"], 1):
        heading, *more = visible(turn["query"]).strip().split("\n")
        parts.append(f"## {number}. {heading}")
        parts += ["\n".join(more).strip()] if any(line.strip() for line in more) else []
        chosen = turn["candidates"].get(str(turn["chosen"]))
        if chosen is not None:
            parts.append(f"**{_who(turn['chosen'], chosen)}, chosen:**\n\n{visible(chosen['text']).strip()}")
        else:
            parts.append("*Given up.*" if turn["cancelled"] else "*Open.*")
        for node, said in turn["candidates"].items():
            if said is not chosen:
                body = said["text"] if said.get("error") is None else f"*No answer: {one_line(said['error'], 300)}*"
                parts.append(f"<details><summary>{_who(node, said)}</summary>\n\n{visible(body).strip()}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _who(node: int | str, said: Mapping[str, Any]) -> str:
    model = re.sub(r"[<>&*`]", "", one_line(said.get("model") or ""))
    return f"Node {node}" + (f" ({model})" if model else "")


def _escape(match: re.Match[str]) -> str:
    return match.group() if match.group() in "\n\t" else json.dumps(match.group())[1:-1]


def _path(name: str) -> Path:
    try:
        if "\0" in name:
            raise ValueError("it holds a NUL")
        return Path(os.path.abspath(Path(name.strip()).expanduser()))
    except (RuntimeError, ValueError) as error:
        raise TransferError(f"'{one_line(name)}' is no name of a file: {error}") from None


def _write_whole(path: Path, content: str, force: bool) -> None:
    """Raises OSError; FileExistsError if the file exists and must not be replaced."""
    if not force:
        path.touch(exist_ok=False)  # ours from now on
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
