"""The switch: every message between two nodes passes through here, and faults are made here on purpose.

It routes by the frame's header and never looks at what a frame carries. Dropping is legal, so no queue is unbounded
and nobody ever waits for anybody: a node that does not read loses its own messages, and nothing else happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from net import auth
from net.control_messages import (
    VERSION,
    Crash,
    FromOrchestrator,
    Hello,
    PeerDown,
    PeerUp,
    Refusal,
    Report,
    Welcome,
)
from net.frames import Frame
from net.relay.connection import Connection, Traffic
from net.relay.delay_line import DelayLine
from net.relay.faults import Faults
from net.relay.refusals import Emit, Notices
from net.sockets import is_loopback

MAX_STRANGERS = 64
"""Connections that have not said who they are, or have been refused; beyond that the oldest one is closed. Nodes
introduce themselves within milliseconds, so they get in even while somebody opens connections without end."""

SILENT_S = 15.0
"""A connection from another machine that said nothing for so long does not keep its number from a new process:
its machine may be gone without having closed anything."""


class Relay:
    """Accepts nodes, routes their frames, and knows who is connected. Events go to `emit` (see docs of the prompts):
    `node_up` and `node_down` with `node`, `refused` with `reason`."""

    def __init__(
        self, *, cluster: str, nodes: Iterable[int], secret: str | None, faults: Faults, emit: Emit
    ) -> None:
        self.cluster = cluster
        self.nodes = sorted(nodes)
        self.secret = secret
        self.faults = faults
        self._emit = emit
        self._notices = Notices(emit)
        self._delays = DelayLine(self._arrive)
        self._traffic = {node: Traffic() for node in self.nodes}
        self._members: dict[int, Connection] = {}
        self._reports: dict[int, Report] = {}
        self._hosts: dict[int, str] = {}
        self._strangers: dict[Connection, None] = {}
        self._dirty: list[Connection] = []
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._closing = False

    # For the operator's commands.

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port (a free one if `port` is 0). Raises OSError if that is not possible."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=128)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Closes every connection; the nodes will try to come back until somebody listens again."""
        self._closing = True
        self._notices.close()
        self._delays.clear()
        if self._server is not None:
            self._server.close()
        for connection in [*self._members.values(), *self._strangers]:
            connection.abort()
        await self.until(lambda: not self._members and not self._strangers, 1.0)
        if self._server is not None:
            await self._server.wait_closed()

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
        """From where the node last connected; None if it never has."""
        return self._hosts.get(node)

    def report_of(self, node: int) -> Report | None:
        """What a connected node last said of itself."""
        return self._reports.get(node)

    def traffic(self, node: int) -> Traffic:
        return self._traffic[node]

    def crash(self, node: int) -> None:
        """Tells a connected node to die at once."""
        member = self._members.get(node)
        if member is not None:
            member.send(Crash())
            member.flush()

    async def wait_up(self, node: int, timeout_s: float) -> bool:
        """False if the node has not connected in time."""
        return await self.until(lambda: node in self._members, timeout_s)

    async def wait_down(self, node: int, timeout_s: float) -> bool:
        """False if the node is still connected."""
        return await self.until(lambda: node not in self._members, timeout_s)

    # For connections.

    def route(self, source: Connection, frame: Frame) -> None:
        raw = frame.raw
        traffic = source.traffic
        traffic.frames_in += 1
        traffic.bytes_in += len(raw)
        if self.faults.quiet:
            self._deliver(source.node, frame.dst, raw)
            return
        copies = self.faults.decide(source.node, frame.dst)
        if not copies:
            self._drop(source.node, frame.dst)
        for late in copies:
            if late <= 0:
                self._deliver(source.node, frame.dst, raw)
            elif not self._delays.add(late, source.node, frame.dst, raw):
                self._drop(source.node, frame.dst)

    def welcome(self, connection: Connection, hello: Hello) -> None:
        """Lets a node in, or refuses it."""
        refusal = self._objection(connection, hello)
        if refusal is not None:
            connection.refuse(*refusal)
            return
        node = hello.node
        predecessor = self._members.get(node)
        if predecessor is not None:
            self._leave(predecessor)
            predecessor.abort()
        self._strangers.pop(connection, None)
        connection.admit(hello, self._traffic[node])
        proof = auth.orchestrator_proof(self.secret, self.cluster, node, connection.challenge, hello.nonce)
        connection.send(Welcome(proof, [peer for peer in self._members if not self.faults.is_cut(peer, node)]))
        self._members[node] = connection
        self._hosts[node] = connection.host
        self._emit({"event": "node_up", "node": node})
        self._hint(node, PeerUp(node), lambda: node in self._members)
        self._notify()

    def report(self, connection: Connection, report: Report) -> None:
        self._reports[connection.node] = report
        self._notify()

    def opened(self, connection: Connection) -> None:
        if self._closing:
            connection.abort()
        self._strangers[connection] = None
        if len(self._strangers) > MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            self._notices.refused("strangers", "too many connections that do not say who they are", oldest.host)
            oldest.abort()

    def unwanted(self, connection: Connection, code: Refusal, reason: str) -> None:
        """The connection is being refused; it stays among the strangers until it has closed."""
        self._notices.refused(code, reason, connection.host)
        self._leave(connection)
        self._strangers[connection] = None

    def closed(self, connection: Connection) -> None:
        self._strangers.pop(connection, None)
        self._leave(connection)
        self._notify()

    def flush_later(self, connection: Connection) -> None:
        if not self._dirty:
            # Runs in the next turn, after every socket that is readable in this one: one write for all of it.
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        try:
            while dirty:
                dirty.pop().flush()
        finally:
            if dirty:  # one raised; it must not take the others' turn with it
                self._dirty += dirty
                asyncio.get_running_loop().call_soon(self._flush)

    def _deliver(self, src: int, dst: int, raw: bytes) -> None:
        member = self._members.get(dst)
        if member is None or not member.push(raw):
            self._drop(src, dst)
            return
        traffic = member.traffic
        traffic.frames_out += 1
        traffic.bytes_out += len(raw)

    def _arrive(self, src: int, dst: int, raw: bytes) -> None:
        """The end of a delay. A link that failed meanwhile carries nothing any more."""
        if self.faults.is_cut(src, dst):
            self._drop(src, dst)
        else:
            self._deliver(src, dst, raw)

    def _drop(self, src: int, dst: int) -> None:
        traffic = self._traffic.get(dst)
        if traffic is not None:
            traffic.dropped += 1
            return
        reason = f"node {src} sends to node {dst}, which this orchestrator's config does not have"
        self._notices.refused(Refusal.UNKNOWN, reason, self.host(src) or "")

    def _leave(self, connection: Connection) -> None:
        node = connection.node
        if self._members.get(node) is not connection:
            return
        del self._members[node]
        self._reports.pop(node, None)
        if self._closing:
            return
        self._emit({"event": "node_down", "node": node})
        self._hint(node, PeerDown(node), lambda: node not in self._members)
        self._notify()

    def _hint(self, about: int, message: FromOrchestrator, still_true: Callable[[], bool]) -> None:
        """Tells the others, as if `about` had sent it: through failed links nothing is heard, not even a hang-up."""

        def tell(node: int) -> None:
            member = self._members.get(node)
            if member is not None and still_true() and not self.faults.is_cut(about, node):
                member.send(message)

        for node in self._members:
            if node == about:
                continue
            for late in self.faults.decide(about, node)[:1]:
                if late <= 0:
                    tell(node)
                else:
                    asyncio.get_running_loop().call_later(late, tell, node)

    def _objection(self, connection: Connection, hello: Hello) -> tuple[Refusal, str] | None:
        """Why this node may not come in, for both sides to read; None if it may."""
        if hello.version != VERSION:
            mine = f"this orchestrator speaks version {VERSION}"
            return Refusal.VERSION, f"node {hello.node} speaks version {hello.version} of the protocol, {mine}"
        if hello.cluster != self.cluster:
            text = f"node {hello.node} belongs to the cluster {hello.cluster!r}, this orchestrator to {self.cluster!r}"
            return Refusal.CLUSTER, text
        if hello.proof and self.secret is None:
            return Refusal.SECRET, f"node {hello.node} has a secret in its config, this orchestrator has none"
        proof = auth.node_proof(self.secret, self.cluster, hello.node, connection.challenge, hello.nonce)
        if not auth.same(hello.proof, proof):
            return Refusal.SECRET, f'node {hello.node} does not know this cluster\'s secret ("secret" in its config)'
        if hello.node not in self._traffic:
            known = ", ".join(map(str, self.nodes))
            return Refusal.UNKNOWN, f"node {hello.node} is not in this orchestrator's config: it has {known}"
        member = self._members.get(hello.node)
        if member is not None and not self._outlived(member, connection, hello):
            process = "" if member.hello is None else f" as process {member.hello.process}"
            return Refusal.DUPLICATE, f"node {hello.node} is running already{process} at {member.host}"
        return None

    def _outlived(self, member: Connection, connection: Connection, hello: Hello) -> bool:
        """Whether `member` is a leftover: the same process has come back, or its machine is silent."""
        old = member.hello
        if (
            old is not None
            and (old.process, old.incarnation) == (hello.process, hello.incarnation)
            and member.host == connection.host
        ):
            return True
        silence = asyncio.get_running_loop().time() - member.heard
        return not is_loopback(member.host) and silence > SILENT_S

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits for something about nodes that come, go and report. False if it is not so in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
