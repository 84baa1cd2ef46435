"""What the local model's server may send: answers, counts of tokens, and how likely it finds a word."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import msgspec

from config.llm_settings import LlmSettings
from llm.chat_client import ChatClient
from llm.local_model.rendezvous import Address
from llm.provider import RankingBallot
from llm.providers import local
from llm.providers.local import LocalProvider
from tests.fuzz.llm_servers import KEY, asking, events, loop_for, refusals, variants
from tests.fuzz.target import Form, Target
from tests.unit.llm.llm_tools import question

_LONG = question("hi", *[("what? " * 200, "that! " * 200)] * 3)
_BALLOT = msgspec.structs.replace(question("hi"), ballot=RankingBallot("why?", ["because", "so"]))


class _Local(LocalProvider):
    """Its server is where the target says."""

    def __init__(self, url: str) -> None:
        with patch.object(local, "find_model", lambda model: Path("/model.gguf")):
            super().__init__(LlmSettings(timeout_s=10), 1, Path("/nowhere"))
        self._address = Address(f"{url}/v1", KEY, 1)

    async def _connect(self) -> ChatClient:
        assert self._address is not None
        if self._client is None:
            self._client = ChatClient("the local model's server", self._address.url, self._address.token)
        return self._client


_loop = loop_for("local", _Local)


def check(data: bytes) -> None:
    _loop.run(asking(data, question("hi"), _LONG, _BALLOT))


def seeds() -> list[bytes]:
    words = [{"token": "Yes", "logprob": -0.1}, {"token": " no", "logprob": -2.5}]
    whole = {
        "tokens": [1, 2, 3], "usage": {"prompt_tokens": 5, "completion_tokens": 7},
        "choices": [{"message": {"content": "The Nile."}, "finish_reason": "stop",
                     "logprobs": {"content": [{"top_logprobs": words}]}}],
    }
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
        for text, finish in (("The ", None), ("Nile.", None), ("", "stop"))
    ]
    return [
        *variants(json.dumps(whole).encode(), "application/json"),
        *variants(events(*chunks, done=b"data: [DONE]\n\n"), "text/event-stream"), *refusals()[:4],
    ]


TARGET = Target("the local model's server", check, seeds, Form.JSON, examples=60, seconds=6.0, close=_loop.close)
