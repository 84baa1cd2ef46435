"""Which connections may become nodes: the checks of a handshake."""

from __future__ import annotations

import asyncio

from net import auth
from net.control_messages import VERSION, Challenge, Hello, Refusal, Welcome
from net.relay.connection import Connection
from net.relay.served_cluster import ServedCluster
from net.sockets import is_loopback
from net.tls import identity_uri, node_name

SILENT_S = 15.0
"""A connection from another machine that was silent for this long does not keep its node number from a new process:
its machine may have vanished without closing anything."""


class Admission:
    """Knows the cluster's name, its secret if it has one, its id and the numbers of its nodes."""

    def __init__(
        self, cluster: str, secret: str | None, served: ServedCluster, *, certificates: bool = False
    ) -> None:
        """With `certificates`, a node must have one of its own."""
        self._cluster = cluster
        self._certificates = certificates
        self._secret = secret
        self._served = served

    def challenge(self, nonce: bytes) -> Challenge:
        """The first message to a new connection."""
        return Challenge(nonce, self._cluster, authenticate=self._secret is not None)

    def objection(self, connection: Connection, hello: Hello, member: Connection | None) -> tuple[Refusal, str] | None:
        """Why this node is refused, as a sentence; None if it is accepted. `member` has its number now."""
        node = hello.node
        if hello.version != VERSION:
            mine = f"this orchestrator speaks version {VERSION}"
            return Refusal.VERSION, f"node {node} speaks version {hello.version} of the protocol, {mine}"
        if hello.cluster != self._cluster:
            text = f"node {node} belongs to the cluster {hello.cluster!r}, this orchestrator to {self._cluster!r}"
            return Refusal.CLUSTER, text
        if hello.proof and self._secret is None:
            return Refusal.SECRET, f"node {node} has a secret in its config, but this orchestrator has none"
        proof = auth.node_proof(self._secret, self._cluster, node, connection.nonce, hello.nonce)
        if not auth.same(hello.proof, proof):
            return Refusal.SECRET, f'node {node} does not know this cluster\'s secret ("secret" in its config)'
        if self._certificates and identity_uri(self._cluster, node_name(node)) not in connection.identities:
            shown = ", ".join(connection.identities) or "no node"
            return Refusal.SECRET, f"node {node} of {self._cluster} has the certificate of {shown}"
        if self._secret is None and not self._certificates and not connection.is_own_user():
            return Refusal.SECRET, (
                f'node {node} is run by another user: a cluster without a "secret" in its config takes in only its own '
                "user's"
            )
        foreign = self._served.objection(node, hello.cluster_id)
        if foreign is not None:
            return Refusal.CLUSTER, foreign
        if node not in self._served.admitted:
            members = ", ".join(map(str, self._served.members))
            why = f"is not in this orchestrator's config: it has {members}"
            if self._served.known.members:
                why = f"is no member of this cluster: the members are {members}"
            return Refusal.UNKNOWN, f"node {node} {why}; addNode {node} makes it one"
        if member is not None and not _replaces(connection, hello, member):
            return Refusal.DUPLICATE, f"node {node} is already running at {member.host}"
        return None

    def welcome(self, connection: Connection, hello: Hello, peers: list[int]) -> Welcome:
        """Proves to the node that this orchestrator knows the secret, too."""
        proof = auth.orchestrator_proof(self._secret, self._cluster, hello.node, connection.nonce, hello.nonce)
        return Welcome(proof, peers, hints=True, urgent=True)


def _replaces(connection: Connection, hello: Hello, member: Connection) -> bool:
    """Whether `member` is stale: the same process has reconnected, or its machine is silent."""
    old = member.hello
    if (
        old is not None
        and (old.process, old.incarnation) == (hello.process, hello.incarnation)
        and member.host == connection.host
    ):
        return True
    silence = asyncio.get_running_loop().time() - member.heard
    return not is_loopback(member.host) and silence > SILENT_S
