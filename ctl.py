#!/usr/bin/env python3
"""Sends one command to a running node, for scripts: python ctl.py --node 2 create c1"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence

from api.base import Failure, encode, result_line, result_type
from api.client import ReceivedEvent, Reply, run_line
from api.errors import ClientError
from api.prompt import WaitingEvent
from api.safe_text import coloured, visible
from api.sockets import socket_path
from config.config import ConfigError
from console import Layout, Usage
from console.basic_views import error
from console.node.table import NODE_TABLE
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Parser, escape_what_cannot_be_shown
from launcher.configuration import load, require_node

DEFAULT_TIMEOUT_S = 30.0

EXAMPLES = (
    ("python ctl.py --node 2 create c1", "create a conversation at node 2"),
    ("python ctl.py --node 2 --json view c1", "print the result as one line of JSON"),
    ("python ctl.py --node 2 --timeout 5 query c1 Why?", "time out after five seconds"),
)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser("ctl.py", "Sends one command to a running node and prints its result.", EXAMPLES)
    parser.add_argument("--node", type=int, required=True, metavar="N", help="the node's number")
    parser.add_config()
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on one line")
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


def _utf8(words: Sequence[str]) -> list[str]:
    """The words as they were typed, whatever the locale takes them for. Raises UnicodeDecodeError."""
    return [os.fsencode(word).decode() for word in words]


def line_of(words: Sequence[str]) -> str:
    """The line to send to the node. File names are made absolute: the node runs in another directory."""
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


def tell(event: ReceivedEvent) -> None:
    """What the command waits for."""
    if event.name == "waiting":
        print(f"still trying: {event.decode(WaitingEvent).reason}", file=sys.stderr)


def shown(line: str, reply: Reply, layout: Layout) -> str:
    """A result for humans. Raises CommandFailed."""
    values = reply.values()

    def fill(usage: Usage, rest: str) -> str:
        """Fills in the only conversation that awaits a choice if it was omitted, as the node does."""
        left_out = len(rest.split()) < usage.least
        return f"{values.get('context')} {rest}" if left_out else rest

    typed = NODE_TABLE.parse(1, line, fill)
    assert typed.command is not None
    return typed.view(reply.result(result_type(type(typed.command))), layout)


def show(line: str, reply: Reply) -> None:
    """For humans: to stdout, or to stderr if it is an error."""
    stream = sys.stdout if reply.failure is None else sys.stderr
    is_terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    width = os.get_terminal_size(stream.fileno()).columns if is_terminal else None
    layout = Layout(width or None, is_terminal and not os.environ.get("NO_COLOR"))
    text = shown(line, reply, layout) if reply.failure is None else error(reply.failure, layout)
    print((coloured if layout.colour else visible)(text), file=stream)


def main() -> int:
    escape_what_cannot_be_shown()
    wanted = arguments()
    try:
        config = load(wanted.config)
        require_node(config, wanted.node)
    except ConfigError as mistake:
        print(f"ctl.py: {mistake}", file=sys.stderr)
        return EXIT_USAGE
    try:
        line = line_of(_utf8(wanted.command))
    except UnicodeDecodeError as mistake:
        print(f"ctl.py: the command is not valid UTF-8: {mistake.reason} at byte {mistake.start + 1}", file=sys.stderr)
        return EXIT_USAGE
    try:
        reply = run_line(
            socket_path(config.data_dir, wanted.node), line, wanted.timeout,
            on_event=tell,
        )
    except ClientError as problem:
        reply = Reply(result_line(wanted.command[0], 1, encode(Failure(error=str(problem))))[:-1])
    if wanted.json:
        print(reply.raw.decode())
    else:
        show(line, reply)
    if reply.failure is None:
        return 0
    return EXIT_USAGE if reply.failure.kind == "usage" else EXIT_FAILED


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = EXIT_FAILED
    sys.exit(code)
