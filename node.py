#!/usr/bin/env python3
"""One node of ConsensusLLM: python node.py N [--config config.json] [--json]

Wires the rooms together: disk and network to the replica (engine/paxos.py), the store to the LLM
(server/responder.py), and the user's prompt (server/session.py) and scripts (console/control_socket.py) to both.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from functools import partial
from typing import Any

import uvloop

from config.config import Config, ConfigError
from console import Console, Form
from console.control_socket import Control, socket_path
from console.log_notices import route_logging
from engine.interface import AppliedOperation, EngineStatus
from engine.paxos import PaxosEngine
from launcher import check_config
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Parser
from launcher.configuration import load
from llm.budget import too_long
from llm.request_scheduler import RequestScheduler
from llm.settings import build, choose
from llm.warm_up import warm_up
from net.link import NodeLink
from paxos.limits import Limits, Timing
from paxos.output import VoterStatus
from server import progress_hints as hints
from server.applied_log import AppliedLog
from server.event_feed import Emit, Level
from server.explanations import Commentary
from server.responder import Responder
from server.session import Session
from storage.database import Database
from storage.errors import StorageError, StorageLocked

GARBAGE = 50_000
"""So many more objects than before make Python look for cycles: a node has very many objects, and few cycles."""
POLL_TIMEOUTS = 2.0
"""So many times the longest time limit of a node's LLM is waited for votes."""
HAND_OVER_S = 5.0
"""So long a node started at a prompt waits for one in the background to make room."""

EXAMPLES = (
    ("python node.py 1", "node 1 of config.json, with a prompt"),
    ("python node.py 1 --json < commands.txt", "one command a line in, one JSON object a line out"),
    ("python node.py --check-config", "is config.json fine? starts nothing"),
    ("python ctl.py --node 1 create c1", "one command at a node that runs already"),
)


class Node:
    """Everything of one node in one event loop. Implements EngineListener."""

    def __init__(self, config: Config, number: int, database: Database, console: Console) -> None:
        settings = self._settings = config.node(number).llm
        self.number = number
        self.leaving = asyncio.Event()
        self.code = 0
        self._console = console
        link = partial(
            NodeLink, host=config.orchestrator.host, port=config.orchestrator.port, cluster=config.cluster, node=number,
            secret=config.secret, incarnation=database.durable.incarnation,
        )
        timing = Timing(config.timing.heartbeat_ms / 1000, config.timing.election_ms / 1000)
        self.engine = PaxosEngine(number, config.node_ids, database, link, timing=timing, limits=Limits())
        self._voter_status = self.engine.status().voter_status
        self._sessions: set[Session] = set()
        self._journal = AppliedLog()
        self._hints = hints.Hints(number, self.engine.send_hint, self._on_progress)
        self.answering = Responder(
            number, self.engine,
            lambda done: RequestScheduler(
                settings, lambda: build(settings, number, config.data_dir), done,
                on_progress=self._hints.on_progress,
            ),
            poll_s=POLL_TIMEOUTS * max(node.llm.timeout_s for node in config.nodes),
        )
        self._members = config.node_ids
        self._commentary = Commentary(self.engine, self._members)
        # Plain lines are a log or a script's: a sentence for every operation would drown what was asked for.
        self.session = self.open_session(console.emit, Level.CALM if console.form is Form.PLAIN else Level.NORMAL)
        self._control = Control(socket_path(config.data_dir, number), self.open_session, self.close_session)

    async def run(self) -> None:
        """Until `leaving` is set."""
        self.engine.start(self)
        try:
            await self._control.start()
        except OSError as error:
            self._console.say(f"ctl.py cannot reach this node: {error}")
        answering = asyncio.create_task(self.answering.run())
        await self.leaving.wait()
        answering.cancel()
        await asyncio.wait([answering])
        await self._control.close()
        await self.answering.close()
        await self.engine.close()

    def open_session(self, emit: Emit, level: Level = Level.NORMAL) -> Session:
        """For one more user."""
        session = Session(
            self.engine, emit, journal=self._journal, node_id=self.number, nodes=len(self._members),
            commentary=self._commentary,
            more_status=self._llm_status, too_long=lambda text: too_long(text, self._settings), level=level,
            members=self._members,
        )
        session.on_leader(self.engine.status().leader)
        self._sessions.add(session)
        return session

    def close_session(self, session: Session) -> None:
        self._sessions.discard(session)
        session.close()

    def _llm_status(self) -> dict[str, Any]:
        desk = self.answering.desk
        metering = desk.metering
        mean_s = metering.mean_s
        return {"llm": {
            "model": desk.model, "in_flight": metering.in_flight, "waiting": metering.waiting,
            "requests": metering.requests, "replies": metering.replies, "failures": metering.failures,
            "retries": metering.retries, "tokens_in": metering.tokens_in, "tokens_out": metering.tokens_out,
            "mean_s": None if mean_s is None else round(mean_s, 3),
        }}

    def _on_progress(self, node: int, hint: hints.Hint) -> None:
        for session in self._sessions:
            session.on_progress(node, hint.context, hint.turn, hint.pieces)

    def leave(self, code: int = 0) -> None:
        self.code = self.code or code
        self.leaving.set()

    # ---- What the engine tells

    def on_applied(self, applied: AppliedOperation) -> None:
        self._journal.note(applied)
        if applied.live:
            self._hints.on_applied(applied.outcome, applied.id.node)
            for session in self._sessions:
                session.on_applied(applied)
        self.answering.on_applied(applied.outcome)

    def on_outcome_unknown(self, ticket: int) -> None:
        for session in self._sessions:
            session.on_outcome_unknown(ticket)

    def on_installed(self) -> None:
        self.answering.review()

    def on_status(self, status: EngineStatus) -> None:
        for session in self._sessions:
            session.on_leader(status.leader)
        self.answering.see(status.leader, status.links)
        if status.voter_status != self._voter_status:
            self._voter_status = status.voter_status
            if status.voter_status == VoterStatus.LEARNER:
                self._console.emit(
                    {"event": "learner", "node": self.number},
                    "this node's disk is new but the others remember an older one: what it promised is forgotten, so "
                    "it follows without a vote (it still answers, and takes commands)",
                )

    def on_failed(self, reason: str) -> None:
        self._console.emit({"event": "failed", "error": reason}, f"stopping: {reason}")
        self.leave(EXIT_FAILED)

    def on_hint(self, node: int, payload: bytes) -> None:
        self._hints.on_message(node, payload)

    def on_connected(self) -> None:
        self._console.emit({"event": "connected"}, "connected to the network")

    def on_disconnected(self, reason: str) -> None:
        self._console.emit({"event": "disconnected", "reason": reason}, f"the network is gone ({reason}); reconnecting")

    def on_refused(self, reason: str) -> None:
        self._console.emit({"event": "refused", "reason": reason}, f"the orchestrator refuses this node: {reason}")


async def serve(config: Config, number: int, form: Form | None, database: Database) -> int:
    """Runs a node until its user leaves or a signal comes; in the background (`form` None) until a signal."""
    loop = asyncio.get_running_loop()
    console = Console(form or Form.PLAIN, title=f"node {number}", history_path=config.data_dir / f"history-{number}")
    restore_logging = route_logging(console.say)
    node = Node(config, number, database, console)
    for sign in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sign, node.leave)
    running = asyncio.create_task(node.run())
    why = choose(config.node(number).llm).why
    hint = "; type help" if console.form is Form.TERMINAL else ""
    console.emit({"event": "ready", "node": number, "llm": why}, f"node {number} of {config.cluster}: {why}{hint}")
    for warning in check_config.exposed(config):
        console.say(warning)
    jobs: list[asyncio.Task[int] | asyncio.Task[None]] = [running]
    talking: asyncio.Task[int] | None = None
    if form is not None:
        talking = asyncio.create_task(console.run(
            node.session, status_line=lambda: node.session.status_line(console.paper.width), prompt=node.session.prompt,
        ))
        jobs.append(talking)
    warming = asyncio.create_task(warm_up(config.node(number).llm))
    try:
        await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        if talking is not None and talking.done():
            node.leave(talking.result())
    finally:
        warming.cancel()
        if talking is not None and not talking.done():
            talking.cancel()
            await asyncio.wait([talking])
        node.leave()
        await running
        restore_logging()
        if form is None:
            await console.close()
    return node.code


def open_database(config: Config, number: int, background: bool) -> Database:
    """Opens the node's disk. A process in the background that has it is asked to leave if this one isn't. Raises
    StorageError."""
    path = config.data_dir / f"node-{number}.db"
    deadline = time.monotonic() + HAND_OVER_S
    asked: int | None = None
    while True:
        try:
            return Database.open(path, config.cluster, number, time.time_ns() // 1000, background=background)
        except StorageLocked as locked:
            if background or not locked.background or locked.os_pid is None or time.monotonic() > deadline:
                raise
            if asked != locked.os_pid:
                asked = locked.os_pid
                print(f"node {number} runs in the background; taking its place", file=sys.stderr)
                os.kill(asked, signal.SIGTERM)
            time.sleep(0.05)  # a lock of another process gives no event to wait for


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser("node.py", "One node of ConsensusLLM.", EXAMPLES)
    parser.add_argument("node", type=int, nargs="?", help="the node's number, one of those in the configuration")
    parser.add_config()
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout, notices on stderr")
    parser.add_argument("--background", action="store_true", help="no prompt; makes room for one started at a prompt")
    parser.add_argument("--check-config", action="store_true", help="only tell whether the configuration is fine")
    parsed = parser.parse_args(argv)
    if parsed.node is None and not parsed.check_config:
        parser.error("which node? its number is missing, for example: python node.py 1")
    return parsed


def main() -> int:
    args = arguments()
    try:
        config = load(args.config)
        if args.node is not None:
            config.node(args.node)
    except ConfigError as error:
        print(f"node.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    if args.check_config:
        said = check_config.summary(config)
        print(json.dumps(said) if args.json else check_config.words(said))
        return 0
    try:
        database = open_database(config, args.node, args.background)
    except StorageError as error:
        print(f"node {args.node} cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED
    form = None if args.background else Form.choose(args.json)
    logging.captureWarnings(True)
    gc.set_threshold(GARBAGE)
    return uvloop.run(serve(config, args.node, form, database))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
