"""A node's connection to the orchestrator: reconnects automatically as long as the node runs."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import msgspec

from net.control_messages import Refusal, Report, control_frame
from net.frames import (
    HINT,
    MAX_LABEL,
    MAX_PAYLOAD,
    NODE,
    ORCHESTRATOR,
    URGENT,
    FrameError,
    encode_frame,
    encode_labelled_frame,
)
from net.link_connection import Credentials, LinkConnection
from net.sockets import authority
from net.tls import HANDSHAKE_S, TlsContexts, handshake_failure

BACKOFF_MIN_S, BACKOFF_MAX_S = 0.05, 0.1
"""Nodes are connected again soon after an orchestrator has come back; until then, little is heard of them."""
REFUSED_S = 1.0
"""Before a node that was refused tries again."""
SAY_AGAIN_S = 30.0
"""Who refuses a node has proved nothing: of each kind of refusal, another reason is told only after so long."""
DUPLICATE_GRACE_S = 2.0
"""For this long, "that node is already running" may only mean that its predecessor's death is not noticed yet."""

CONNECT_S = 5.0


class LinkEvents(Protocol):
    """What a link reports to its node, always in the event loop's thread."""

    def on_message(self, src: int, payload: memoryview) -> None:
        """From node `src`. The bytes stay unchanged as long as the view is referenced."""

    def on_hint(self, src: int, payload: memoryview) -> None:
        """The same, for what node `src` sent with `send_hint`."""

    def on_up(self) -> None:
        """Connected and mutually authenticated; `send` works."""

    def on_down(self, reason: str) -> None:
        """The connection is lost; the link is reconnecting."""

    def on_peer_up(self, node: int) -> None:
        """That node is connected, as far as the orchestrator knows. Called for every such node after `on_up` too."""

    def on_peer_down(self, node: int) -> None:
        """That node's connection has closed, as far as the orchestrator knows."""

    def on_refused(self, reason: str) -> None:
        """A retry is unlikely to help (wrong secret, unknown node, number taken, ...); the link still retries once
        a second all the same. Until it is up again it reports the same reason once, and others rarely. Anybody may
        have written the reason."""


class LinkTraffic:
    """Counts frames and bytes between nodes, over all connections of one link."""

    __slots__ = ("bytes_in", "bytes_out", "dropped", "frames_in", "frames_out")

    def __init__(self) -> None:
        self.frames_in = 0
        self.bytes_in = 0
        self.frames_out = 0
        self.bytes_out = 0
        self.dropped = 0
        """Not sent: not connected, or the queue was full."""


def die() -> None:
    """Crashes the process as if killed: nothing is flushed, closed or answered."""
    os.kill(os.getpid(), signal.SIGKILL)


class NodeLink:
    """Sends to and receives from the other nodes through the orchestrator. Messages may be lost, and nothing else is
    promised; it never blocks and never holds more than MAX_QUEUED bytes (see net/link_connection.py)."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        cluster: str,
        node: int,
        secret: str | None,
        incarnation: int,
        events: LinkEvents,
        random: Random | None = None,
        tls: TlsContexts | None = None,
        crash: Callable[[], None] = die,
    ) -> None:
        """`incarnation` distinguishes this run of the node from earlier ones; `crash` carries out `failNode`."""
        self.node = node
        self.traffic = LinkTraffic()
        self.problem: str | None = None
        """Why there is no connection, for people; None while connected."""
        self.wants_labels = False
        """The orchestrator asks that messages of the protocol say what they are."""
        self._host, self._port = host, port
        self._at = authority(host, port)
        self._tls = tls
        self._credentials = Credentials(cluster, node, secret, os.getpid(), incarnation, tls=tls is not None)
        """With the id of the cluster that the last report named."""
        self._events = events
        self._random = random if random is not None else Random()
        self._crash = crash
        self._connection: LinkConnection | None = None
        """Set only while it is up."""
        self._report: bytes | None = None
        self._task: asyncio.Task[None] | None = None
        self._refusals: dict[Refusal, tuple[float, str]] = {}
        """When each kind was told last, and with which reason."""
        self._duplicate_since: float | None = None

    @property
    def is_up(self) -> bool:
        return self._connection is not None

    def start(self) -> None:
        """Connects, and reconnects whenever the connection is lost, until `close`."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Sends what can be sent without waiting, and closes the connection. No `on_down` follows."""
        self.flush()
        task, self._task = self._task, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def send(self, dst: int, payload: bytes, urgent: bool = False, label: str = "") -> None:
        """Sends to node `dst`; dropped and counted if not connected or the queue is full. What is urgent overtakes the
        rest wherever it waits, if the orchestrator knows such frames; else in this node's queue alone. The operator
        sees the label, if there is one.

        Sent in the next turn of the event loop, or by `flush`. Raises FrameError beyond MAX_PAYLOAD bytes.
        """
        self._send(NODE, dst, payload, urgent, label if self.wants_labels else "")

    def send_hint(self, dst: int, payload: bytes) -> None:
        """As `send`, for what is no message of the protocol and may as well be lost: node `dst` gets an `on_hint`, if
        it and the orchestrator know such frames. Nothing waits behind a hint: where anything waits, it is dropped."""
        connection = self._connection
        if connection is None or not connection.hints:
            return
        if connection.queue.is_paused:
            self.traffic.dropped += 1
        else:
            self._send(HINT, dst, payload)

    def send_report(self, report: Report) -> None:
        """Sends a report for the operator's `status`. The newest one is resent after a reconnect, and what it says of
        the cluster's id goes with the next handshake."""
        self._credentials = msgspec.structs.replace(self._credentials, cluster_id=report.cluster_id)
        self._report = control_frame(self.node, ORCHESTRATOR, report)
        if self._connection is not None:
            self._connection.queue.push(self._report, urgent=True)

    def flush(self) -> None:
        """Sends the queued frames now, in one system call."""
        if self._connection is not None:
            self._connection.queue.flush()

    # Called by the connection.

    def connected(self, connection: LinkConnection, peers: list[int]) -> None:
        self._connection = connection
        self.problem = None
        self._refusals.clear()
        self._duplicate_since = None
        if self._report is not None:
            connection.queue.push(self._report, urgent=True)
        self._events.on_up()
        for peer in peers:
            if peer != self.node:
                self._events.on_peer_up(peer)

    def lost(self, connection: LinkConnection) -> None:
        self.problem = connection.reason
        self.wants_labels = False
        if self._connection is connection:
            self._connection = None
            self._events.on_down(connection.reason)

    def message(self, src: int, payload: memoryview) -> None:
        self.traffic.frames_in += 1
        self.traffic.bytes_in += len(payload)
        self._events.on_message(src, payload)

    def hint(self, src: int, payload: memoryview) -> None:
        self.traffic.frames_in += 1
        self.traffic.bytes_in += len(payload)
        self._events.on_hint(src, payload)

    def peer(self, node: int, up: bool) -> None:
        if up:
            self._events.on_peer_up(node)
        else:
            self._events.on_peer_down(node)

    def crash(self) -> None:
        self._crash()

    def label(self, on: bool) -> None:
        self.wants_labels = on

    def _send(self, kind: int, dst: int, payload: bytes, urgent: bool = False, label: str = "") -> None:
        if len(payload) > MAX_PAYLOAD - (MAX_LABEL + 2 if label else 0):
            raise FrameError(f"a message of {len(payload)} bytes to node {dst}: at most {MAX_PAYLOAD}")
        connection = self._connection
        if connection is not None and urgent and connection.urgent:
            kind = URGENT
        frame = (encode_labelled_frame(kind, self.node, dst, label, payload) if label
                 else encode_frame(kind, self.node, dst, payload))
        if connection is None or not connection.queue.push(frame, urgent=urgent):
            self.traffic.dropped += 1
            return
        self.traffic.frames_out += 1
        self.traffic.bytes_out += len(payload)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nothing awaits the task; if it fails (a callback raised), that must not stay silent."""
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "the link's task failed", "exception": error})

    async def _run(self) -> None:
        """Runs one connection after another."""
        backoff = BACKOFF_MIN_S
        while True:
            was_up, at_least = await self._run_connection()
            backoff = BACKOFF_MIN_S if was_up else backoff
            # Half of it at random, so that nodes that lost their orchestrator do not reconnect in lockstep.
            await asyncio.sleep(max(backoff, at_least) * self._random.uniform(0.5, 1.0))
            backoff = min(backoff * 2, BACKOFF_MAX_S)

    async def _run_connection(self) -> tuple[bool, float]:
        """From its beginning to its end: whether it was up, and how many seconds to wait at least before the next."""
        connection = LinkConnection(self, self._credentials)
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, self._host, self._port, **self._encryption()
                )
        except ssl.SSLError as error:
            connection.abandon()
            self.problem = f"the orchestrator at {self._at} is not trusted: {handshake_failure(error)}"
            return False, self._refused(Refusal.SECRET, self.problem)
        except OSError as error:
            connection.abandon()
            self.problem = f"no orchestrator at {self._at}: {error.strerror or error}"
            return False, BACKOFF_MIN_S
        await connection.finished.wait()
        if connection.refusal is None:
            return connection.was_up, BACKOFF_MIN_S
        return connection.was_up, self._refused(connection.refusal, connection.reason)

    def _encryption(self) -> dict[str, Any]:
        """Arguments of asyncio's create_connection."""
        if self._tls is None:
            return {}
        return {"ssl": self._tls.client(), "server_hostname": "", "ssl_handshake_timeout": HANDSHAKE_S}

    def _refused(self, code: Refusal, reason: str) -> float:
        """Reports it unless it may be temporary; returns the minimum seconds to wait."""
        now = asyncio.get_running_loop().time()
        if code is Refusal.DUPLICATE:
            if self._duplicate_since is None:
                self._duplicate_since = now
            if now - self._duplicate_since < DUPLICATE_GRACE_S:
                return BACKOFF_MIN_S
        told = self._refusals.get(code)
        if told is None or (reason != told[1] and now - told[0] >= SAY_AGAIN_S):
            self._refusals[code] = now, reason
            self._events.on_refused(reason)
        return REFUSED_S
