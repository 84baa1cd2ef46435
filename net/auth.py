"""Each side of a new connection proves that it knows the cluster's secret, without sending it. (A cluster on
one machine may have none: then each side asks the kernel whose process the other one is, see peer_user.py.)

Both proofs cover both sides' nonces, so that neither can be replayed on another connection, and name their side, so
that neither can be reflected. Traffic after the handshake is neither encrypted nor signed: if attackers can
modify packets in flight, run the cluster through a tunnel.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from net.control_messages import NONCE_SIZE


def new_nonce() -> bytes:
    return secrets.token_bytes(NONCE_SIZE)


def node_proof(secret: str | None, cluster: str, node: int, challenge: bytes, nonce: bytes) -> bytes:
    """The proof in a node's Hello; `challenge` is the orchestrator's nonce, `nonce` the node's own."""
    return _proof(secret, b"node", cluster, node, challenge, nonce)


def orchestrator_proof(secret: str | None, cluster: str, node: int, challenge: bytes, nonce: bytes) -> bytes:
    """The proof in the orchestrator's Welcome, over the same two nonces."""
    return _proof(secret, b"orchestrator", cluster, node, challenge, nonce)


def same(proof: bytes, expected: bytes) -> bool:
    """Takes constant time, wherever the two differ."""
    return hmac.compare_digest(proof, expected)


def _proof(secret: str | None, side: bytes, cluster: str, node: int, challenge: bytes, nonce: bytes) -> bytes:
    if secret is None:
        return b""
    digest = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    for part in (side, cluster.encode(), node.to_bytes(2, "big"), challenge, nonce):
        # Length prefixes make sure that no two different lists of parts have the same bytes.
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()
