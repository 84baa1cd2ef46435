"""The process of one node: its disk, its service, and the ways in: a prompt and the control socket."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

import uvloop

from api.base import Event
from api.node_events import ReadyEvent
from api.sockets import socket_path
from config.config import Config
from console import Console, Form
from console.control_socket import ControlSocket
from console.log_notices import route_logging
from console.node.event_views import node_event_text, session_event_text
from console.node.executor import NodeExecutor
from console.node.table import NODE_TABLE
from engine.paxos import PaxosEngine
from launcher import check_config, protection
from launcher.arguments import EXIT_FAILED, PRIVATE
from launcher.configuration import nodes_to_start
from launcher.http_api import NodeHttp
from launcher.naming_link import NamingLink
from llm.budget import too_long
from llm.request_scheduler import OnProgress, RequestScheduler
from llm.settings import build, choose
from llm.warm_up import warm_up
from net.link import LinkEvents, NodeLink
from net.tls import TlsContexts, TlsError, node_name
from paxos.limits import Limits, Timing
from server.byte_rate import ByteRate
from server.event_feed import Level, SessionEvent
from server.explanations import PaxosExplanations
from server.node import NodeService
from server.responder import Done
from storage.database import Database
from storage.errors import StorageError, StorageLocked
from storage.ownership import claim

GARBAGE = 50_000
"""Garbage collection threshold in new objects: a node has very many objects and few reference cycles."""
POLL_TIMEOUTS = 2.0
"""How long to wait for votes, as a multiple of the longest LLM timeout of any node."""
HAND_OVER_S = 5.0
"""How long a node started at a prompt waits for its background process to exit."""


def run(config: Config, number: int, *, as_json: bool, background: bool) -> int:
    """Runs until the user leaves or a signal arrives; in the background, until a signal. Returns the exit code."""
    os.umask(PRIVATE)
    try:
        tls = protection.tls_of(config, node_name(number))
        database = open_database(config, number, background)
        secret = protection.secret_of(config)
    except (StorageError, TlsError) as error:
        print(f"node {number} cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED
    form = None if background else Form.choose(as_json)
    logging.captureWarnings(True)
    gc.set_threshold(GARBAGE)
    return uvloop.run(serve(config, number, form, database, secret, tls))


def open_database(config: Config, number: int, background: bool) -> Database:
    """Opens the node's disk. A background process that holds it is asked to exit, unless this one is one too. Raises
    StorageError."""
    path = config.data_dir / f"node-{number}.db"
    claim(config.data_dir, config.cluster, config.path, any_config=True)
    deadline = time.monotonic() + HAND_OVER_S
    asked: int | None = None
    while True:
        try:
            return Database.open(
                path, config.cluster, number, time.time_ns() // 1000, background=background,
                # With one node, there is nobody to get the conversations from.
                replace_damaged=len(nodes_to_start(config)) > 1,
            )
        except StorageLocked as locked:
            if background or not locked.background or locked.os_pid is None or time.monotonic() > deadline:
                raise
            if asked != locked.os_pid:
                asked = locked.os_pid
                print(f"node {number} is running in the background; taking over from it", file=sys.stderr)
                os.kill(asked, signal.SIGTERM)
            time.sleep(0.05)  # another process's lock provides no event to wait for


async def serve(
    config: Config, number: int, form: Form | None, database: Database, secret: str | None, tls: TlsContexts | None
) -> int:
    """`form` is None in the background."""
    console = Console(form or Form.PLAIN, title=f"node {number}", history_path=config.data_dir / f"history-{number}")
    restore_logging = route_logging(console.say)
    links: list[NodeLink] = []

    def emit(event: Event) -> None:
        console.emit(event, node_event_text(event))
        http.tell(event)

    service = _make_service(config, number, database, secret, tls, emit, links)
    http = NodeHttp(config, number, service, console.say, partial(_traffic, links))
    leaving = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sign, leaving.set)
    _greet(console, config, number)
    if database.notice is not None:
        console.say(database.notice)
    prompt = _open_prompt(console, service)
    service.start()
    control = ControlSocket(socket_path(config.data_dir, number), service.open_session, service.close_session)
    warming = asyncio.create_task(warm_up(config.node(number).llm))
    typing = asyncio.create_task(_wait_for_ever() if form is None else _converse(console, prompt))
    ends = [asyncio.create_task(event.wait()) for event in (leaving, service.failed, service.removed)]
    try:
        await _start_control(control, console)
        http.start()
        await asyncio.wait([typing, *ends], return_when=asyncio.FIRST_COMPLETED)
        code = typing.result() if typing.done() else 0
    finally:
        for task in (warming, typing, *ends):
            task.cancel()
        await asyncio.wait([typing])
        await http.close()
        await control.close()
        await service.close()
        restore_logging()
        if form is None:
            await console.close()
    return EXIT_FAILED if service.failed.is_set() else code


def _make_service(
    config: Config, number: int, database: Database, secret: str | None, tls: TlsContexts | None,
    emit: Callable[[Event], None], links: list[NodeLink],
) -> NodeService:
    """`links` gets the link that is made."""
    llm = config.node(number).llm

    def link(*, events: LinkEvents) -> NodeLink:
        links.append(NamingLink(
            config.data_dir, new=database.durable.configuration is None, events=events,
            host=config.orchestrator.host, port=config.orchestrator.port, cluster=config.cluster, node=number,
            secret=secret, tls=tls, incarnation=database.durable.incarnation,
        ))
        return links[-1]

    timing = Timing(config.timing.heartbeat_ms / 1000, config.timing.election_ms / 1000)
    engine = PaxosEngine(number, config.node_ids, database, link, timing=timing, limits=Limits())

    def make_scheduler(done: Done, on_progress: OnProgress) -> RequestScheduler:
        scheduler = RequestScheduler(
            llm, lambda: build(llm, number, config.data_dir), done, on_progress=on_progress
        )
        engine.asking = lambda: scheduler.metering.in_flight
        return scheduler

    return NodeService(
        number, config.node_ids, engine, make_scheduler, emit=emit,
        explanations=PaxosExplanations(engine, config.node_ids), too_long=lambda text: too_long(text, llm),
        rate=ByteRate(config.limits.bytes_per_minute),
        poll_timeout_s=POLL_TIMEOUTS * max(node.llm.timeout_s for node in config.nodes),
    )


def _traffic(links: list[NodeLink]) -> tuple[int, int]:
    """Bytes received and sent."""
    return sum(link.traffic.bytes_in for link in links), sum(link.traffic.bytes_out for link in links)


def _greet(console: Console, config: Config, number: int) -> None:
    why = choose(config.node(number).llm).why
    hint = "; type help" if console.form is Form.TERMINAL else ""
    console.emit(ReadyEvent(number, why), f"node {number} of {config.cluster}: {why}{hint}")
    for warning in (*check_config.exposed(config), *protection.notices(config)):
        console.say(warning)


def _open_prompt(console: Console, service: NodeService) -> NodeExecutor:
    def tell(told: SessionEvent) -> None:
        console.emit(told.event, session_event_text(told))

    # Plain output goes to a log or a script: a sentence per operation would drown the requested results.
    level = Level.CALM if console.form is Form.PLAIN else Level.NORMAL
    return NodeExecutor(service.open_session(tell, level, on_screen=console.form is Form.TERMINAL))


async def _start_control(control: ControlSocket, console: Console) -> None:
    try:
        await control.start()
    except OSError as error:
        console.say(f"ctl.py cannot reach this node: {error}")


async def _converse(console: Console, prompt: NodeExecutor) -> int:
    return await console.run(
        NODE_TABLE, prompt, status_line=lambda: prompt.status_line(console.layout.width), prompt=prompt.prompt
    )


async def _wait_for_ever() -> int:
    """A background node has no prompt."""
    await asyncio.Event().wait()
    return 0
