"""The process of one node: its disk, its service, and the ways in: a prompt and the control socket."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

import uvloop
from msgspec import UNSET

from api.base import Event
from api.node_events import ExplainEvent, LeaderEvent, ReadyEvent
from api.sockets import socket_path
from config.config import Config
from console import Console, Form
from console.control_socket import ControlSocket
from console.log_notices import route_logging
from console.node.control import node_socket
from console.node.event_views import node_event_text, session_event_text
from console.node.executor import NodeExecutor
from console.node.table import NODE_TABLE
from launcher import check_config
from launcher.arguments import EXIT_FAILED, PRIVATE
from launcher.errors import LaunchError
from launcher.http_api import NodeHttp
from launcher.node_engine import NodeEngine, prepare
from llm.budget import too_long
from llm.request_scheduler import OnProgress, RequestScheduler
from llm.settings import build, choose, is_meaningful
from llm.warm_up import warm_up
from net.tls import TlsError
from server.byte_rate import ByteRate
from server.event_feed import Level, SessionEvent
from server.node import NodeService
from server.responder import Done
from storage.errors import StorageError

GARBAGE = 50_000
"""Garbage collection threshold in new objects: a node has very many objects and few reference cycles."""
POLL_TIMEOUTS = 2.0
"""How long to wait for votes, as a multiple of the longest LLM timeout of any node."""


def run(config: Config, number: int, *, as_json: bool, background: bool) -> int:
    """Runs until the user leaves or a signal arrives; in the background, until a signal. Returns the exit code."""
    os.umask(PRIVATE)
    try:
        make_engine = prepare(config, number, background)
    except (StorageError, TlsError, LaunchError) as error:
        print(f"node {number} cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED
    form = None if background else Form.choose(as_json)
    logging.captureWarnings(True)
    gc.set_threshold(GARBAGE)
    return uvloop.run(serve(config, number, form, make_engine))


async def serve(config: Config, number: int, form: Form | None, make_engine: Callable[[], NodeEngine]) -> int:
    """`form` is None in the background."""
    console = Console(form or Form.PLAIN, title=f"node {number}", history_path=config.data_dir / f"history-{number}")
    restore_logging = route_logging(console.say)

    def emit(event: Event) -> None:
        console.emit(event, node_event_text(event), about_protocol=True)
        http.tell(event)

    engine = make_engine()
    service = _make_service(config, number, engine, emit)
    http = NodeHttp(config, number, service, console.say, engine.traffic)
    leaving = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sign, leaving.set)
    _greet(console, config, number, engine.notices)
    prompt = _open_prompt(console, service, at_prompt=form is not None)
    service.start()
    control = node_socket(socket_path(config.data_dir, number), service.open_session, service.close_session)
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


def _make_service(config: Config, number: int, engine: NodeEngine, emit: Callable[[Event], None]) -> NodeService:
    llm = config.node(number).llm

    def make_scheduler(done: Done, on_progress: OnProgress) -> RequestScheduler:
        scheduler = RequestScheduler(
            llm, lambda: build(llm, number, config.data_dir), done, on_progress=on_progress
        )
        engine.report_requests(lambda: scheduler.metering.in_flight)
        return scheduler

    return NodeService(
        number, config.node_ids, engine.engine, make_scheduler, emit=emit, explanations=engine.explanations,
        too_long=lambda text: too_long(text, llm), rate=ByteRate(config.limits.bytes_per_minute),
        prices=config.prices,
        poll_timeout_s=POLL_TIMEOUTS * max(node.llm.timeout_s for node in config.nodes),
        by_agreement=is_meaningful(llm), reaches="etcd" if config.engine.is_etcd else UNSET,
    )


def _greet(console: Console, config: Config, number: int, notices: Sequence[str]) -> None:
    why = choose(config.node(number).llm).why
    hint = "; type help" if console.form is Form.TERMINAL else ""
    console.emit(ReadyEvent(number, why), f"node {number} of {config.cluster}: {why}{hint}")
    for warning in (*check_config.exposed(config), *notices):
        console.say(warning)


def _open_prompt(console: Console, service: NodeService, *, at_prompt: bool) -> NodeExecutor:
    def tell(told: SessionEvent) -> None:
        console.emit(
            told.event, session_event_text(told, drawn=console.form is Form.TERMINAL),
            about_protocol=isinstance(told.event, ExplainEvent | LeaderEvent),
        )

    # Plain output goes to a log or a script: a sentence per operation would drown the requested results.
    level = Level.CALM if console.form is Form.PLAIN else Level.NORMAL
    return NodeExecutor(
        service.open_session(tell, level, on_screen=console.form is Form.TERMINAL, at_prompt=at_prompt)
    )


async def _start_control(control: ControlSocket[NodeExecutor], console: Console) -> None:
    try:
        await control.start()
    except OSError as error:
        console.say(f"ctl.py cannot reach this node: {error}")


async def _converse(console: Console, prompt: NodeExecutor) -> int:
    return await console.run(
        NODE_TABLE, prompt, status_line=lambda: prompt.status_line(console.layout.width), prompt=prompt.prompt,
        progress_line=lambda: prompt.progress_line(console.layout.width),
    )


async def _wait_for_ever() -> int:
    """A background node has no prompt."""
    await asyncio.Event().wait()
    return 0
