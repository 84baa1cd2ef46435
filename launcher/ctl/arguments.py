"""The command line of ctl.py, and the line that it sends."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from api.node_commands import ImportCommand
from config.config import DEFAULT_PATH
from launcher.arguments import Parser
from launcher.paths import DEFAULT_CONFIG

TIMEOUT_S = 30.0
WAITING_TIMEOUT_S = 120.0

Node: TypeAlias = int | Literal["leader", "any"]
Choice: TypeAlias = int | Literal["auto"]

WAIT = "--wait"
CHOOSE = "--choose"
_LATER = ("ask", "query", "choose", "regenerate")
"""What is answered before all comes of it."""

EXAMPLES = (
    ("python ctl.py --node 2 create c1", "create a conversation at node 2"),
    ("python ctl.py --node any ask c1 Why? --wait", "print the answer, once it is there"),
    ("python ctl.py --node leader query c1 Why? --choose auto", "print the answer that the nodes choose"),
    ("python ctl.py --node 2 --json view c1", "print the result as one line of JSON"),
    ("python ctl.py --network failNode leader", "a command of the network's operator"),
)


class Wanted(msgspec.Struct, frozen=True):
    """What the command line says."""

    words: list[str]
    """Of the command."""
    node: Node | None
    """None: the network."""
    config: Path
    json: bool
    timeout_s: float | None
    """None: as long as it takes."""
    wait: bool
    """For what comes of the command, too."""
    choose: Choice | None
    """Once the answers are in."""

    @property
    def name(self) -> str:
        """Of the command."""
        return _name(self.words)


def arguments(argv: Sequence[str] | None = None) -> Wanted:
    parser = Parser("ctl.py", "Sends one command to a running node or to the network, and prints its result.", EXAMPLES)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--node", type=_node, metavar="N",
        help="the node's number, or `leader`, or `any`: one that answers and knows a leader, if there is one",
    )
    target.add_argument("--network", action="store_true", help="the network orchestrator")
    parser.add_config()
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on one line")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S",
        help=f"seconds to wait for the result (default: {TIMEOUT_S:g}, with {WAIT} {WAITING_TIMEOUT_S:g}, at the "
        "network as long as it takes); a change may still take effect later",
    )
    parser.add_argument(
        WAIT, action="store_true",
        help="after ask: until there is an answer, which is printed; after query: until all nodes have answered; "
        "may also stand at the end of the line",
    )
    parser.add_argument(
        CHOOSE, type=_choice, metavar="N|auto",
        help="after query: wait, choose, and print the chosen answer; may also stand at the end of the line",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="as typed at the prompt: `help` lists all")
    words = list(sys.argv[1:] if argv is None else argv)
    parsed = parser.parse_args(words)
    if not parsed.command or not parsed.command[0].strip():
        parser.error("a command is missing, for example: status")
    last = _options_at_the_end(parsed.command)
    if last:
        parsed = parser.parse_args([*words[-last:], *words[:-last]])
    return _wanted(parser, parsed)


def _wanted(parser: Parser, parsed: argparse.Namespace) -> Wanted:
    name = _name(parsed.command)
    wait = parsed.wait or parsed.choose is not None
    if wait and (parsed.network or name not in _LATER):
        parser.error(
            f"{WAIT} is for ask, query, choose and regenerate at a node: everything else is done when it is answered"
        )
    if parsed.choose is not None and name != "query":
        parser.error(f"{CHOOSE} is for query")
    timeout_s = parsed.timeout
    if timeout_s is None and not parsed.network:
        timeout_s = WAITING_TIMEOUT_S if wait else TIMEOUT_S
    return Wanted(
        parsed.command, None if parsed.network else parsed.node, _config(parsed.config), parsed.json, timeout_s, wait,
        parsed.choose,
    )


def _options_at_the_end(command: Sequence[str]) -> int:
    """How many words behind the command are options of this program."""
    end = len(command)
    while _name(command) in _LATER and end > 1:
        if command[end - 1] == WAIT or command[end - 1].startswith(f"{CHOOSE}="):
            end -= 1
        elif command[end - 2] == CHOOSE:
            end -= 2
        else:
            break
    return len(command) - max(end, 1)


def _name(command: Sequence[str]) -> str:
    """Of a command, which may be one word for the shell, like "query c1 Why?"."""
    return command[0].split()[0].lower()


def _config(path: Path) -> Path:
    """From another directory: that of this program."""
    return DEFAULT_CONFIG if path == Path(DEFAULT_PATH) and not path.exists() else path


def _node(word: str) -> Node:
    return "leader" if word == "leader" else "any" if word == "any" else int(word)


def _choice(word: str) -> Choice:
    return "auto" if word == "auto" else int(word)


def _seconds(word: str) -> float:
    seconds = float(word)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(word)
    return seconds


def utf8(words: Sequence[str]) -> list[str]:
    """The words as they were typed, whatever the locale takes them for. Raises UnicodeDecodeError."""
    return [os.fsencode(word).decode() for word in words]


def line_of(words: Sequence[str]) -> str:
    """The line to send. File names are made absolute: nodes and network run in another directory."""
    words = list(words)
    name = _name(words)
    if len(words) == 1 and name in ("export", "import", "backup", "script"):
        words = words[0].split()
    files = [index for index, word in enumerate(words) if index and not word.startswith("--")]
    if name in ("export", "backup") and files:
        words[files[-1]] = _absolute(words[files[-1]])
    if name == "import" and files:
        file, *context = (words[index] for index in files)
        words[files[0]] = file = _absolute(file)
        if len(file.split()) > 1 and len(context) <= 1 and len(files) + words.count("--chosen") == len(words) - 1:
            command = ImportCommand(file, context[0] if context else None, "--chosen" in words)
            return msgspec.json.encode(command).decode()  # typed, its name would end at the first space
    if name == "script" and files and os.path.exists(_absolute(words[files[0]])):  # else the name of a scenario
        words[files[0]] = _absolute(words[files[0]])
    return " ".join(words)


def _absolute(file: str) -> str:
    return os.path.abspath(os.path.expanduser(file))
