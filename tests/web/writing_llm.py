"""An OpenAI-compatible server for all nodes' LLMs that writes what the test says, when it says so."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any

_BREAK_OFF = object()
_END = object()
_SYNTHESIS = "\n\nSeveral answers"
"""Follows the question where an LLM is asked for one answer out of others."""


class Writing:
    """What the nodes write to one question."""

    def __init__(self) -> None:
        self.parts: defaultdict[int, SimpleQueue[Any]] = defaultdict(SimpleQueue)

    def writes(self, node: int, *texts: str) -> None:
        for text in texts:
            self.parts[node].put(text)

    def ends(self, node: int, *texts: str) -> None:
        self.writes(node, *texts)
        self.parts[node].put(_END)

    def breaks_off(self, node: int) -> None:
        """In the middle of its answer, with a reason."""
        self.parts[node].put(_BREAK_OFF)


class WritingLlm:
    """Nodes are told apart by the seed that they send. Questions that the test has not named are answered at once, and
    so are rankings: in the order in which the answers are put."""

    def __init__(self) -> None:
        self.llm: dict[str, Any] = {}
        """What a configuration has to say of it."""
        self._questions: dict[str, Writing] = {}

    def question(self, text: str) -> Writing:
        """Its answers are the test's from now on."""
        return self._questions.setdefault(text, Writing())

    def synthesis(self, question: str) -> Writing:
        """So is what is made out of the answers to it."""
        return self.question(f"{question}{_SYNTHESIS}")

    def parts(self, request: dict[str, Any], closing: threading.Event) -> Iterator[Any]:
        node = request["seed"] % 100_003  # another round has another seed
        question = request["messages"][-1]["content"]
        if _SYNTHESIS in question:
            question = question[: question.index(_SYNTHESIS) + len(_SYNTHESIS)]
        if request["temperature"] == 0:
            yield from (" > ".join("ABCDE"[: question.count("Answer ")]), _END)
            return
        if question not in self._questions:
            yield from (f"Node {node} says: {question}", _END)
            return
        while not closing.is_set():
            try:
                part = self._questions[question].parts[node].get(timeout=0.5)
            except Empty:
                yield ""  # notices a client that has gone
                continue
            yield part
            if part is _END or part is _BREAK_OFF:
                return


@contextmanager
def writing_llm() -> Iterator[WritingLlm]:
    llm = WritingLlm()
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                for part in llm.parts(request, closing):
                    self._send(part)
            except OSError:
                return  # the node has gone, or called it off

        def _send(self, part: Any) -> None:
            choice: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": None}
            if part is _BREAK_OFF:
                record: dict[str, Any] = {"error": {"message": "out of paper"}}
            else:
                choice["delta"] = {} if part is _END else {"content": part}
                choice["finish_reason"] = "stop" if part is _END else None
                record = {"choices": [choice]}
            last = b"data: [DONE]\n\n" if part is _END else b""
            self.wfile.write(b"data: " + json.dumps(record).encode() + b"\n\n" + last)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    llm.llm = {"provider": "openai", "model": "writer", "base_url": f"http://127.0.0.1:{server.server_address[1]}/v1"}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield llm
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
