"""The relay: every message between two nodes passes through here, and faults are injected here.

A connection is a *stranger* until it has said, and proved, which node it is, and again when it is refused; then it is
a *member*. This module knows who is connected; admission.py checks handshakes, router.py passes frames on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from net.control_messages import Challenge, Crash, FromOrchestrator, Hello, Label, PeerDown, PeerUp, Refusal, Report
from net.relay.admission import Admission
from net.relay.connection import NOT_A_NODE, Connection, Traffic
from net.relay.counts import Counts
from net.relay.faults import Faults
from net.relay.holding import HeldMessage, Holding
from net.relay.refusals import STRANGERS, RefusalNotice, Refusals
from net.relay.router import Router
from net.relay.served_cluster import KnownCluster, ServedCluster
from net.relay.tap import Tap
from net.sockets import is_loopback
from net.tls import TlsContexts
from net.tls_server import BACKLOG, TlsServer

MAX_STRANGERS = 64
"""Beyond that the oldest stranger's connection is closed. Nodes introduce themselves within milliseconds, so they get
in even while somebody opens connections without end."""


class RelayListener(Protocol):
    """Receives the relay's events as they happen."""

    def on_node_up(self, node: int) -> None: ...
    def on_node_down(self, node: int) -> None: ...
    def on_refused(self, notice: RefusalNotice) -> None: ...
    def on_cluster(self, known: KnownCluster) -> None: ...
    def on_held(self, message: HeldMessage) -> None: ...
    def on_report(self, node: int) -> None: ...


class Relay:
    """Accepts nodes, routes their frames, and knows who is connected and what they last reported of themselves."""

    def __init__(
        self, *, cluster: str, nodes: Iterable[int], secret: str | None, faults: Faults, listener: RelayListener,
        known: KnownCluster | None = None, tls: TlsContexts | None = None,
    ) -> None:
        """`nodes` are those of the configuration file; `known` is what is remembered of the cluster. With `tls`, every
        node must show a certificate of its own."""
        self.faults = faults
        self._listener = listener
        self._refusals = Refusals(listener.on_refused)
        configured = sorted(nodes)
        self._served = ServedCluster(cluster, configured, known or KnownCluster())
        self._admission = Admission(cluster, secret, self._served, certificates=tls is not None)
        self._tls = tls
        self._router = Router(configured, faults, self._unknown_receiver, listener.on_held, self._tell_labels)
        self._members = self._router.members
        self._reports: dict[int, Report] = {}
        self._hosts: dict[int, str] = {}
        self._turned_away: set[int] = set()
        self._strangers: dict[Connection, None] = {}
        self._server: asyncio.Server | TlsServer | None = None
        self._labels = False
        """Nodes have been asked for labels."""
        self._changed = asyncio.Event()
        self._closing = False

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port (a free one if `port` is 0). Raises OSError if it cannot."""
        self._server = await self._listen(host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def _listen(self, host: str, port: int) -> asyncio.Server | TlsServer:
        def connection() -> Connection:
            return Connection(self, self._router)

        if self._tls is None:
            return await asyncio.get_running_loop().create_server(connection, host, port, backlog=BACKLOG)
        server = TlsServer(self._tls, connection, self._handshake_failed)
        await server.start(host, port)
        return server

    def _handshake_failed(self, host: str, reason: str) -> None:
        self._refusals.add(Refusal.PROTOCOL, f"who connected from there is not trusted: {reason}", host, stranger=True)

    async def close(self) -> None:
        """Closes every connection; the nodes will retry until a relay listens again."""
        self._closing = True
        self._refusals.close()
        self._router.delayed.clear()
        self._router.holding.clear()
        self._router.tap.stop()
        if self._server is not None:
            self._server.close()
        for connection in [*self._members.values(), *self._strangers]:
            connection.abort()
        await self.until(lambda: not self._members and not self._strangers, 1.0)
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def holding(self) -> Holding:
        """The messages that wait for the operator."""
        return self._router.holding

    @property
    def counts(self) -> Counts:
        """What passed since the start, and what was lost."""
        return self._router.counts

    @property
    def delayed_bytes(self) -> int:
        return self._router.delayed.bytes

    @property
    def tap(self) -> Tap:
        """The messages that pass, for those who watch."""
        return self._router.tap

    # ---- State of the nodes

    @property
    def nodes(self) -> list[int]:
        """The cluster's members, those that are to become members, and whoever else is connected."""
        return sorted({*self._served.nodes, *self._members})

    def release_delayed(self) -> None:
        """Has everything delivered now that is delayed on purpose."""
        self._router.delayed.release()

    @property
    def members(self) -> list[int]:
        """As they were decided, or configured if that is not known."""
        return self._served.members

    @property
    def known(self) -> KnownCluster:
        """What is known of the cluster."""
        return self._served.known

    def reopen(self) -> None:
        """Another cluster may be served from now on: which one, the nodes will say."""
        self._served.reopen()

    def turned_away(self, node: int) -> bool:
        """Whether a node of this number runs somewhere, or did, and was refused because it is unknown."""
        return node in self._turned_away

    def want(self, node: int) -> None:
        """Lets a node in that is to become a member."""
        self._served.want(node)

    def forget(self, node: int) -> None:
        """It is let in only as a member from now on, or if it is configured."""
        self._served.forget(node)

    def is_up(self, node: int) -> bool:
        return node in self._members

    def process(self, node: int) -> int | None:
        """The process id of a connected node that runs on this machine; None for any other."""
        member = self._members.get(node)
        if member is None or member.hello is None or not is_loopback(member.host):
            return None
        return member.hello.process

    def host(self, node: int) -> str | None:
        member = self._members.get(node)
        return None if member is None else member.host

    def last_host(self, node: int) -> str | None:
        """The host from which the node last connected; None if it never has."""
        return self._hosts.get(node)

    def report_of(self, node: int) -> Report | None:
        """A connected node's last report."""
        return self._reports.get(node)

    def traffic(self, node: int) -> Traffic:
        return self._router.traffic_of(node)

    async def wait_up(self, node: int, timeout_s: float) -> bool:
        """False if the node has not connected in time."""
        return await self.until(lambda: node in self._members, timeout_s)

    async def wait_down(self, node: int, timeout_s: float) -> bool:
        """False if the node is still connected."""
        return await self.until(lambda: node not in self._members, timeout_s)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits for a condition on nodes' connections and reports. False if it does not hold in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True

    def crash(self, node: int) -> None:
        """Tells a connected node to crash at once."""
        member = self._members.get(node)
        if member is not None:
            member.send(Crash())
            member.flush()

    # ---- Events from connections

    def challenge(self, nonce: bytes) -> Challenge:
        return self._admission.challenge(nonce)

    def opened(self, connection: Connection) -> None:
        if self._closing:
            connection.abort()
        self._strangers[connection] = None
        if len(self._strangers) > MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            self._refusals.add(STRANGERS, "too many unidentified connections", oldest.host, stranger=True)
            oldest.abort()

    def introduced(self, connection: Connection, hello: Hello) -> None:
        """Accepts a node, or refuses it."""
        node = hello.node
        predecessor = self._members.get(node)
        objection = self._admission.objection(connection, hello, predecessor)
        if objection is not None:
            if objection[0] is Refusal.UNKNOWN:
                self._turned_away.add(node)
            connection.refuse(*objection)
            return
        if predecessor is not None:
            self._remove(predecessor)
            predecessor.abort()
        self._strangers.pop(connection, None)
        connection.admit(hello, self._router.traffic_of(node))
        peers = [peer for peer in self._members if not self.faults.is_cut(peer, node)]
        connection.send(self._admission.welcome(connection, hello, peers))
        self._members[node] = connection
        if self._labels:
            self._tell_label(connection)
        self._hosts[node] = connection.host
        self._listener.on_node_up(node)
        self._tell_peers(node, PeerUp(node), lambda: node in self._members)
        self._review()
        self._notify()

    def reported(self, connection: Connection, report: Report) -> None:
        self._reports[connection.node] = report
        self._review()
        self._listener.on_report(connection.node)
        self._notify()

    def refused(self, connection: Connection, code: Refusal, reason: str) -> None:
        """The connection is being refused; it is a stranger until it has closed."""
        unknown = connection.node == NOT_A_NODE and code is Refusal.PROTOCOL
        self._refusals.add(code, reason, connection.host, stranger=unknown)
        self._remove(connection)
        self._strangers[connection] = None

    def closed(self, connection: Connection) -> None:
        self._strangers.pop(connection, None)
        self._remove(connection)
        self._notify()

    def _review(self) -> None:
        """Draws conclusions from what the nodes say of their cluster."""
        hellos = {node: member.hello for node, member in self._members.items() if member.hello is not None}
        if self._served.review(hellos, self._reports):
            self._listener.on_cluster(self._served.known)
            for node, reason in self._served.strangers(hellos).items():
                self._members[node].refuse(Refusal.CLUSTER, reason)

    def _remove(self, connection: Connection) -> None:
        """From the members, if it is one."""
        node = connection.node
        if self._members.get(node) is not connection:
            return
        del self._members[node]
        self._reports.pop(node, None)
        if self._closing:
            return
        self._listener.on_node_down(node)
        self._tell_peers(node, PeerDown(node), lambda: node not in self._members)
        self._notify()

    def _tell_peers(self, about: int, message: FromOrchestrator, still_true: Callable[[], bool]) -> None:
        """As if `about` had sent it: through failed links nothing is heard, not even a disconnect."""

        def tell(node: int) -> None:
            member = self._members.get(node)
            if member is not None and still_true() and not self.faults.is_cut(about, node):
                member.send(message)

        loop = asyncio.get_running_loop()
        for node in self._members:
            if node == about:
                continue
            for late in self.faults.decide(about, node, now=loop.time())[:1]:
                if late <= 0:
                    tell(node)
                else:
                    loop.call_later(late, tell, node)

    def _tell_labels(self) -> None:
        if self._router.wants_labels == self._labels:
            return
        self._labels = self._router.wants_labels
        for connection in self._members.values():
            self._tell_label(connection)

    def _tell_label(self, connection: Connection) -> None:
        if connection.hello is not None and connection.hello.labels:
            connection.send(Label(self._labels))

    def _unknown_receiver(self, src: int, dst: int) -> None:
        reason = f"node {src} sends to node {dst}, which is not in this orchestrator's config"
        self._refusals.add(Refusal.UNKNOWN, reason, self.host(src) or "")

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
