"""Sends the command, waits for what comes of it, and prints that."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec

from api.base import Failure, encode, result_line
from api.client import Client, ReceivedEvent, Reply
from api.conversation import SYNTHESIS, Turn
from api.errors import ClientError, NoAnswer
from api.node_results import LastResult
from api.open_records import extended
from api.prompt import WaitingEvent
from api.sockets import network_socket_path, socket_path
from config.config import Config, ConfigError
from console.command_table import CommandTable
from console.node.table import NODE_TABLE
from console.operator.table import OPERATOR_TABLE
from console.usage import UsageError
from launcher.arguments import EXIT_FAILED, EXIT_USAGE, escape_what_cannot_be_shown
from launcher.configuration import load, require_node
from launcher.ctl import output, target
from launcher.ctl.arguments import Wanted, arguments, line_of, utf8
from launcher.ctl.output import Outcome
from launcher.ctl.questions import Asked, Question, has_polled, left_to_nodes


def run() -> int:
    """Returns the exit code."""
    escape_what_cannot_be_shown()
    wanted = arguments()
    try:
        line = line_of(utf8(wanted.words))
    except UnicodeDecodeError as mistake:
        return _wrong(f"the command is not valid UTF-8: {mistake.reason} at byte {mistake.start + 1}")
    try:
        config = load(wanted.config)
        if isinstance(wanted.node, int):
            require_node(config, wanted.node)
        if wanted.node is None and config.engine.is_etcd:
            raise ConfigError("this cluster runs on etcd: there is no network orchestrator")
        _require_effect(NODE_TABLE if wanted.node is not None else OPERATOR_TABLE, line)
    except (ConfigError, UsageError) as mistake:
        return _wrong(str(mistake))
    try:
        reply, outcome = asyncio.run(_send(wanted, config, line))
    except ClientError as problem:
        reply, outcome = _made(wanted, Failure(error=str(problem))), None
    output.show(wanted, line, reply, outcome)
    if reply.failure is None:
        return 0
    return EXIT_USAGE if reply.failure.kind == "usage" else EXIT_FAILED


def _wrong(sentence: str) -> int:
    print(f"ctl.py: {sentence}", file=sys.stderr)
    return EXIT_USAGE


def _require_effect(table: CommandTable[Any], line: str) -> None:
    """Raises UsageError for a command that concerns nothing but the prompt where it is typed."""
    try:
        entry = table.parse(1, line).entry
    except UsageError:
        return  # whoever gets it knows better what is left out, and says what is wrong
    if entry is not None and entry.usage.only_prompt:
        name = entry.usage.name
        raise UsageError(f"{name} concerns only the prompt where it is typed; ctl.py has none, so it would do nothing")


async def _send(wanted: Wanted, config: Config, line: str) -> tuple[Reply, Outcome | None]:
    """The answer, and what came of it if that is waited for. Raises ClientError."""
    events = Question()

    def on_event(event: ReceivedEvent) -> None:
        if event.name == "waiting":
            print(f"still trying: {event.decode(WaitingEvent).reason}", file=sys.stderr)
        elif wanted.node is None and not wanted.json:
            output.show_step(event)
        if wanted.wait:
            events.on_event(event)

    if wanted.node is None:
        path, name = network_socket_path(config.data_dir), "this network"
    else:
        name = "this node"
        number = wanted.node if isinstance(wanted.node, int) else await target.find(
            config, wanted.node, wanted.timeout_s
        )
        path = socket_path(config.data_dir, number)
    began = asyncio.get_running_loop().time()
    async with await Client.connect(path, name=name, on_event=on_event) as client:
        reply = await client.run_line(line, wanted.timeout_s)
        if not wanted.wait or reply.failure is not None:
            return reply, None
        asked = msgspec.json.decode(reply.raw, type=Asked)
        try:
            async with asyncio.timeout_at(None if wanted.timeout_s is None else began + wanted.timeout_s):
                turn = await _outcome(wanted, events, client, asked)
        except TimeoutError:
            missing = f"not all answers are in; view {asked.context} shows those that are"
            raise NoAnswer(f"after {wanted.timeout_s:g} s: {missing}") from None
    return _final(wanted, asked, turn), Outcome(turn, SYNTHESIS if asked.synth else turn.chosen)


async def _outcome(wanted: Wanted, events: Question, client: Client, asked: Asked) -> Turn:
    if wanted.name == "choose":
        if asked.synth:
            return await events.synthesized(client, asked)
        return await events.chosen(client, asked)
    if wanted.words[0].lower() == "regenerate":
        return await events.answered_again(client, asked)
    turn = await events.answered(client, asked)
    if not turn.open or output.failures(turn) is not None:
        return turn
    if wanted.choose in (None, "auto") and await left_to_nodes(client, asked.context):
        # Whoever has seen them fail already would wait in vain.
        return turn if has_polled(turn) else await events.chosen(client, asked)
    if wanted.choose is None:
        return turn
    return await events.choose(client, asked, wanted.choose)


def _final(wanted: Wanted, asked: Asked, turn: Turn) -> Reply:
    """As the answer to the command: the turn, with the keys of `last`, or why it is none."""
    error = output.failures(turn)
    if turn.cancelled:
        error = f"question {asked.turn} was cancelled"
    elif error is None and turn.chosen is None and not asked.synth and (
        wanted.choose is not None or wanted.name == "choose"
    ):
        error = f"no node could rank the answers: use choose {asked.context} N"
    if error is None:
        return _made(wanted, LastResult(context=asked.context, turn=asked.turn, last=turn, stale=False))
    return _made(wanted, extended(Failure(error=error), {"context": asked.context, "turn": asked.turn, "last": turn}))


def _made(wanted: Wanted, result: Any) -> Reply:
    return Reply(result_line(wanted.name, 1, encode(result))[:-1])
