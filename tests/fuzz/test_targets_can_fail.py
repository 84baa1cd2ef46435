"""Each target finds what it is there for: with a mistake in the code that it tries, some of its inputs fail."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from api.client import Reply
from kvstore.packed_turns import pack
from tests.fuzz.mutation import mutate
from tests.fuzz.registry import corpus, load, names
from tests.fuzz.target import Target

_TRIED = 120


def _none(*_: Any, **__: Any) -> None:
    return None


def _true(*_: Any, **__: Any) -> bool:
    return True


def _unchanged(text: Any, *_: Any, **__: Any) -> Any:
    return text


def _raises(*_: Any, **__: Any) -> Any:
    raise KeyError("planted")


MISTAKES: list[tuple[str, str, Callable[..., Any]]] = [
    ("client", "api.client._checked", Reply),
    ("cluster", "paxos.proposer.Proposer.offer", _raises),
    ("config", "config.config._convert", _raises),
    ("control_socket", "console.control_socket._unwrapped", _raises),
    ("database", "storage.inspection.check_rows", _none),
    ("frames", "net.frames.FrameParser._problem", _raises),
    ("handshake", "net.link_connection.auth.same", _true),
    ("import_file", "server.transfer.pack", lambda turns: pack([])),
    ("llm_gemini", "llm.providers.gemini.GeminiProvider.ask", _raises),
    ("llm_google_genai", "llm.providers.google_genai.GoogleGenaiProvider.ask", _raises),
    ("llm_local", "llm.local_model.ranking._approval", _raises),
    ("llm_openai", "llm.http_client.HttpClient.without_secrets", lambda self, text: text),
    ("lock_file", "storage.lock.os.kill", _raises),
    ("messages", "engine.network.is_urgent", _raises),
    ("network_file", "orchestrator.memory.msgspec.json.decode", _raises),
    ("operations", "kvstore.store.Store.changed", lambda self: []),
    ("owner_file", "storage.ownership.shown", _unchanged),
    ("prompts", "console.command_table.words_of", _raises),
    ("relay_member", "net.relay.relay.Relay.reported", _raises),
    ("relay_stranger", "net.relay.admission.Admission.objection", _none),
    ("replica", "paxos.acceptor.Acceptor.prepare", _raises),
    ("rows", "kvstore.store.Store.load", _raises),
    ("scenario", "orchestrator.script._find", _raises),
    ("terminal", "console.layout.visible", _unchanged),
]


@pytest.mark.parametrize(("name", "where", "mistake"), MISTAKES, ids=[name for name, *_ in MISTAKES])
def test_a_mistake_is_found(
    name: str, where: str, mistake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load(name)
    seeds = target.seeds()
    monkeypatch.setattr(where, mistake)
    inputs = [*corpus(name), *seeds]
    inputs += [mutate(inputs[number % len(inputs)], target.form, Random(number), seeds) for number in range(_TRIED)]
    try:
        assert any(_fails(target, data) for data in inputs)
    finally:
        target.close()


def _fails(target: Target, data: bytes) -> bool:
    try:
        target.try_out(data)
    except Exception:  # noqa: BLE001 - whatever it is, it was found
        return True
    return False


def test_there_is_a_mistake_for_each_target() -> None:
    assert sorted(name for name, *_ in MISTAKES) == names()
