"""Each side of a new connection proves that it knows the cluster's secret, without sending it.

Both proofs cover both sides' nonces, so that none can be replayed on another connection, and name their side, so that
none can be reflected. What follows the handshake is neither encrypted nor signed: on a network where somebody can
change packets in flight, run the cluster through a tunnel.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from net.control_messages import NONCE_SIZE


def new_nonce() -> bytes:
    return secrets.token_bytes(NONCE_SIZE)


def node_proof(secret: str | None, cluster: str, node: int, challenge: bytes, nonce: bytes) -> bytes:
    """What a node sends in Hello; `challenge` is the orchestrator's nonce, `nonce` its own."""
    return _proof(secret, b"node", cluster, node, challenge, nonce)


def orchestrator_proof(secret: str | None, cluster: str, node: int, challenge: bytes, nonce: bytes) -> bytes:
    """What the orchestrator sends in Welcome, over the same two nonces."""
    return _proof(secret, b"orchestrator", cluster, node, challenge, nonce)


def same(proof: bytes, expected: bytes) -> bool:
    """Takes the same time wherever the two differ."""
    return hmac.compare_digest(proof, expected)


def _proof(secret: str | None, side: bytes, cluster: str, node: int, challenge: bytes, nonce: bytes) -> bytes:
    if secret is None:
        return b""
    digest = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    for part in (side, cluster.encode(), node.to_bytes(2, "big"), challenge, nonce):
        # With its length first, no two different lists of parts have the same bytes.
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()
