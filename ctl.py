#!/usr/bin/env python3
"""One command at a running node, for scripts: python ctl.py --node 2 create c1"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from config.config import ConfigError
from console import Command, Layout, render
from console import node_views as display
from console.control_socket import address, socket_path
from console.safe import coloured, visible
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Parser
from launcher.configuration import load

DEFAULT_TIMEOUT_S = 30.0

EXAMPLES = (
    ("python ctl.py --node 2 create c1", "begin a conversation at node 2"),
    ("python ctl.py --node 2 --json view c1", "its result as a line of JSON"),
    ("python ctl.py --node 2 --timeout 5 query c1 Why?", "give up waiting after five seconds"),
)


class NoAnswer(Exception):
    """Says in a sentence why there is no result."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser("ctl.py", "Has one command carried out by a running node, and prints its result.", EXAMPLES)
    parser.add_argument("--node", type=int, required=True, metavar="N", help="the node's number")
    parser.add_config()
    parser.add_argument("--json", action="store_true", help="the result as one JSON object on a line")
    parser.add_argument(
        "--timeout", type=_seconds, default=DEFAULT_TIMEOUT_S, metavar="S",
        help="seconds to wait for the result (default: %(default)g); a change may still take effect later",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="as typed at the node's prompt: `help` lists all")
    parsed = parser.parse_args(argv)
    if not parsed.command or not parsed.command[0].strip():
        parser.error("a command is missing, for example: status")
    return parsed


def _seconds(word: str) -> float:
    seconds = float(word)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(word)
    return seconds


def line_of(words: Sequence[str]) -> str:
    """What is typed at the node. Names of files are made absolute: the node runs in another directory."""
    words = list(words)
    name = words[0].split()[0].lower()
    if len(words) == 1 and name in ("export", "import"):
        words = words[0].split()
    files = [index for index, word in enumerate(words) if index and not word.startswith("--")]
    if name == "export" and files:
        words[files[-1]] = os.path.abspath(os.path.expanduser(words[files[-1]]))
    if name == "import" and files:
        words[files[0]] = os.path.abspath(os.path.expanduser(words[files[0]]))
    return " ".join(words)


def records(path: Path, line: str, deadline: float) -> Iterator[dict[str, Any]]:
    """What the node says after `line` was typed, until the deadline. Raises NoAnswer, TimeoutError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with address(path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoAnswer(f"this node is not running: nobody listens at {path}") from None
        except OSError as error:
            raise NoAnswer(f"cannot reach this node at {path}: {error.strerror or error}") from None
        try:
            connection.sendall(json.dumps(line).encode() + b"\n")
            with connection.makefile("rb") as lines:
                while (left := deadline - time.monotonic()) > 0:
                    connection.settimeout(left)
                    said = lines.readline()
                    if not said.endswith(b"\n"):
                        raise ConnectionResetError
                    yield json.loads(said)
        except ConnectionError:
            raise NoAnswer("the node left before it answered; a change may still take effect") from None


def result_of(path: Path, line: str, timeout_s: float) -> dict[str, Any]:
    """The result of a command; what it waits for goes to stderr. Raises NoAnswer."""
    waited_for = ""
    try:
        for record in records(path, line, time.monotonic() + timeout_s):
            match record["event"]:
                case "result":
                    return record
                case "waiting":
                    waited_for = f" ({record['reason']})"
                    print(f"still trying: {record['reason']}", file=sys.stderr)
                case "refused" if "command" not in record:
                    raise NoAnswer(f"the node refuses: {record['reason']}")
    except TimeoutError:
        pass
    raise NoAnswer(f"no answer within {timeout_s:g} s{waited_for}; a change may still take effect")


def show(line: str, result: dict[str, Any]) -> None:
    """For humans: to stdout, or to stderr if it is an error."""
    stream = sys.stdout if result["ok"] else sys.stderr
    is_terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    width = os.get_terminal_size(stream.fileno()).columns if is_terminal else None
    paper = Layout(width or None, is_terminal and not os.environ.get("NO_COLOR"))
    command = Command(1, result["command"], line.split()[1:])
    if not result["ok"]:
        text = render.error(result, paper)
    elif "commands" in result:
        text = render.help_table(result, paper)
    else:
        shown = {key: value for key, value in result.items() if key not in ("event", "command", "line")}
        text = display.show(command, shown, paper)
    print((coloured if paper.colour else visible)(text), file=stream)


def main() -> int:
    wanted = arguments()
    try:
        config = load(wanted.config)
        config.node(wanted.node)
    except ConfigError as error:
        print(f"ctl.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    line = line_of(wanted.command)
    try:
        result = result_of(socket_path(config.data_dir, wanted.node), line, wanted.timeout)
    except NoAnswer as problem:
        result = {
            "event": "result", "command": wanted.command[0], "line": 1, "ok": False, "error": str(problem),
        }
    if wanted.json:
        print(json.dumps(result, separators=(",", ":")))
    else:
        show(line, result)
    if result["ok"]:
        return 0
    return EXIT_USAGE if result.get("kind") == "usage" else EXIT_FAILED


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = EXIT_FAILED
    sys.exit(code)
