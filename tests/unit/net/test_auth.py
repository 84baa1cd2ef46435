from __future__ import annotations

from net import auth


def test_only_the_same_secret_proves() -> None:
    challenge, nonce = auth.new_nonce(), auth.new_nonce()
    proof = auth.node_proof("correct horse", "demo", 3, challenge, nonce)
    assert auth.same(proof, auth.node_proof("correct horse", "demo", 3, challenge, nonce))
    others = [
        auth.node_proof("wrong horse", "demo", 3, challenge, nonce),
        auth.node_proof("correct horse", "demo2", 3, challenge, nonce),
        auth.node_proof("correct horse", "demo", 4, challenge, nonce),
        auth.node_proof("correct horse", "demo", 3, auth.new_nonce(), nonce),
        auth.node_proof("correct horse", "demo", 3, challenge, auth.new_nonce()),
        auth.orchestrator_proof("correct horse", "demo", 3, challenge, nonce),
        b"",
    ]
    assert not any(auth.same(proof, other) for other in others)


def test_without_a_secret_there_is_nothing_to_prove() -> None:
    assert auth.node_proof(None, "demo", 3, auth.new_nonce(), auth.new_nonce()) == b""
