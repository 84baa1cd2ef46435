"""The engine of a node, as the configuration wants it: what is held from the start of the process, and what runs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from config.config import Config
from engine.interface import Engine
from engine.paxos import PaxosEngine
from launcher import protection
from launcher.configuration import nodes_to_start
from launcher.naming_link import NamingLink
from net.link import LinkEvents, NodeLink
from net.tls import TlsContexts, node_name
from paxos.limits import Limits, Timing
from server.explanations import PaxosExplanations
from server.session import Explanations
from storage.database import Database
from storage.errors import StorageLocked
from storage.ownership import claim

T = TypeVar("T")

HAND_OVER_S = 5.0
"""How long a node started at a prompt waits for its background process to exit."""


class NodeEngine(NamedTuple):
    engine: Engine
    explanations: Explanations | None = None
    """None: `explain` has nothing to tell."""
    traffic: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """Bytes received from other nodes, and sent to them."""
    notices: tuple[str, ...] = ()
    """What is to be told once, at the start."""
    report_requests: Callable[[Callable[[], int]], None] = lambda count: None
    """Takes what counts the requests that the LLM works on: an operator may want to see it."""


def prepare(config: Config, number: int, background: bool) -> Callable[[], NodeEngine]:
    """Takes what only one process may have; in an event loop, the result makes the engine. Raises StorageError,
    TlsError and LaunchError."""
    if config.engine.is_etcd:
        from launcher import etcd_cluster

        return etcd_cluster.prepare(config, number, background)
    tls = protection.tls_of(config, node_name(number))
    database, secret = open_database(config, number, background), protection.secret_of(config)
    return lambda: _paxos(config, number, database, secret, tls)


def open_database(config: Config, number: int, background: bool) -> Database:
    """Opens the node's disk. Raises StorageError."""
    claim(config.data_dir, config.cluster, config.path, any_config=True)
    return take_over(number, background, lambda: Database.open(
        disk_path(config, number), config.cluster, number, time.time_ns() // 1000, background=background,
        # With one node, there is nobody to get the conversations from.
        replace_damaged=len(nodes_to_start(config)) > 1,
    ))


def disk_path(config: Config, number: int) -> Path:
    return config.data_dir / f"node-{number}.db"


def take_over(number: int, background: bool, take: Callable[[], T]) -> T:
    """What `take` gets. A background process that holds it is asked to exit, unless this one is one too. Raises
    StorageError."""
    deadline = time.monotonic() + HAND_OVER_S
    asked: int | None = None
    while True:
        try:
            return take()
        except StorageLocked as locked:
            if background or not locked.background or locked.os_pid is None or time.monotonic() > deadline:
                raise
            if asked != locked.os_pid:
                asked = locked.os_pid
                print(f"node {number} is running in the background; taking over from it", file=sys.stderr)
                os.kill(asked, signal.SIGTERM)
            time.sleep(0.05)  # another process's lock provides no event to wait for


def _paxos(
    config: Config, number: int, database: Database, secret: str | None, tls: TlsContexts | None
) -> NodeEngine:
    links: list[NodeLink] = []

    def link(*, events: LinkEvents) -> NodeLink:
        links.append(NamingLink(
            config.data_dir, new=database.durable.configuration is None, events=events,
            host=config.orchestrator.host, port=config.orchestrator.port, cluster=config.cluster, node=number,
            secret=secret, tls=tls, incarnation=database.durable.incarnation,
        ))
        return links[-1]

    def traffic() -> tuple[int, int]:
        return sum(link.traffic.bytes_in for link in links), sum(link.traffic.bytes_out for link in links)

    def report_requests(count: Callable[[], int]) -> None:
        engine.asking = count

    timing = Timing(config.timing.heartbeat_ms / 1000, config.timing.election_ms / 1000)
    engine = PaxosEngine(number, config.node_ids, database, link, timing=timing, limits=Limits())
    notices = (*([] if database.notice is None else [database.notice]), *protection.notices(config))
    return NodeEngine(engine, PaxosExplanations(engine, config.node_ids), traffic, notices, report_requests)
