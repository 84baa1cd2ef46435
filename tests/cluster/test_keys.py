"""API keys never leak: a cluster whose providers fail in every way, and everything that it wrote and sent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster, Process, until
from tests.unit.llm.gemini_tools import End, candidate, streamed
from tests.unit.llm.llm_tools import Said, Scripted, said_json, said_stream, stand_in

GEMINI_KEY = "AIzaSyPlantedInTheConfiguration-0123456789"
OPENAI_KEY = "sk-planted-in-the-environment-0123456789"


class Tap:
    """A proxy between the nodes and the orchestrator: forwards and records everything."""

    def __init__(self, target: int) -> None:
        self.seen = bytearray()
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                node, _ = self._listener.accept()
                relay = socket.create_connection(("127.0.0.1", self._target))
                for source, sink in ((node, relay), (relay, node)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.seen += data
                sink.sendall(data)
        for end in (source, sink):
            end.close()

    def close(self) -> None:
        self._listener.close()


class TappedCluster(Cluster):
    """Its nodes reach the orchestrator through a tap."""

    tap: Tap

    def __enter__(self) -> TappedCluster:
        super().__enter__()
        return self

    def start_network(self) -> Process:
        network, nodes = self.settings["orchestrator"]["port"], self.config
        self.config = self.folder / "network.json"
        self.config.write_text(nodes.read_text())
        self.tap = Tap(network)
        self.settings["orchestrator"] = {"port": self.tap.port}
        nodes.write_text(nodes.read_text().replace(f'"port": {network}', f'"port": {self.tap.port}'))
        started = super().start_network()
        self.config = nodes
        return started


def failures(key: str) -> list[Scripted]:
    """Every kind of failure; those with a text contain the key."""
    said = f"the key {key} (?key={key}) is no good"
    error = {"error": {"code": 400, "message": said, "status": "X", "details": [{"metadata": {"key": key}}]}}
    return [
        *(said_json(error, status) for status in (400, 401, 403, 404, 429, 500, 503, 504)),
        Said(200, (f"<html>{said}</html>".encode(),), "text/html"), Said(502, (said.encode(),), "text/html"),
        Said(200, (f'{{"{said}'.encode(),), headers=(("content-length", "9000"),)),
        said_json([said], 500), said_json({"promptFeedback": {"blockReason": said}}),
        said_json({"candidates": [{"finishReason": said}]}), said_stream({"error": {"message": said}}),
    ]


def broken_streams(key: str) -> list[Scripted]:
    """Gemini streams that stop half-way, and contain the key where possible."""
    said = f"the key {key} is no good"
    some = candidate("Some", None)
    endings: list[dict[str, Any]] = [
        {"error": {"code": 503, "message": said}}, {"promptFeedback": {"blockReason": said}}, candidate(None, said),
        {said: said},
    ]
    return [
        *(streamed(some, ending) for ending in endings), *(streamed(some, end=end) for end in End),
        Said(200, (f"data: {{{said}\r\n\r\n".encode(),), "text/event-stream"),
    ]


def broken_chats(key: str) -> list[Scripted]:
    """The same of a server that speaks OpenAI's protocol."""
    said = f"the key {key} is no good"
    some = {"choices": [{"delta": {"content": "Some"}}]}
    endings: list[object] = [{"error": {"message": said}}, {"choices": [{"finish_reason": "content_filter"}]}, said]
    cut = Said(200, said_stream(some).pieces[:1], "text/event-stream")
    return [*(said_stream(some, ending) for ending in endings), cut, cut._replace(headers=(("content-length", "99"),))]


def test_a_planted_key_is_nowhere_to_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    gemini = failures(GEMINI_KEY) + broken_streams(GEMINI_KEY)
    chat = failures(OPENAI_KEY) + broken_chats(OPENAI_KEY)
    with stand_in(*gemini) as google, stand_in(*gemini) as newer, stand_in(*chat) as other:
        nodes = [
            {"id": 1, "llm": {"provider": "gemini", "base_url": google.url, "api_key": GEMINI_KEY}},
            {"id": 2, "llm": {"provider": "openai", "base_url": other.url, "model": "m"}}, {"id": 3},
            {"id": 4, "llm": {"provider": "google-genai", "base_url": newer.url, "api_key": GEMINI_KEY}}, {"id": 5},
        ]
        with TappedCluster(tmp_path, nodes=nodes) as cluster:
            cluster.leader()
            node = cluster.nodes[3]
            node.ok("create c")
            node.ok("query c Why?")
            reasons = set()

            def all_met() -> bool:
                return len(other.asked) >= len(chat) and min(len(google.asked), len(newer.asked)) >= len(gemini)

            while not all_met():
                (turn,) = until(lambda: len((turns := node.ok("view c")["turns"])[0]["candidates"]) == 5 and turns)
                reasons |= {turn["candidates"][pid]["error"] for pid in "124"}
                node.ok("retry c")
            assert {asked.path.split("?")[0].rsplit(":")[-1] for asked in google.asked + newer.asked} == {
                "streamGenerateContent", "generateContent"
            }, "what is refused without a clear reason is asked once without anything optional"
            cluster.tap.close()
            for process in cluster.nodes.values():
                process.do("status")
                process.finish()
            written = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
            shown = "".join(str(process.events) for process in cluster.started).encode()
    for name in ("config.json", "network.json"):
        assert GEMINI_KEY.encode() in written.pop(str(tmp_path / name))
    everything = {**written, "screens": shown, "frames": bytes(cluster.tap.seen)}
    assert len(reasons) > 12 and any("***" in reason for reason in reasons), reasons
    assert any("is incomplete" in reason for reason in reasons), reasons
    for where in ("frames", str(tmp_path / "data" / "node-3.db")):
        assert any(reason.encode() in everything[where] for reason in reasons), "the search finds what is there"
    for where, content in everything.items():
        for key in (GEMINI_KEY, OPENAI_KEY):
            assert key.encode() not in content and key[6:].encode() not in content, where
