"""What Google may send to the SDK google-generativeai: one JSON value, or an array of them, bit by bit."""

from __future__ import annotations

import json

from config.llm_settings import LlmSettings
from llm.providers.gemini import GeminiProvider
from tests.fuzz.llm_servers import KEY, asking, loop_for, refusals, variants
from tests.fuzz.target import Form, Target
from tests.unit.llm.gemini_tools import candidate, usage

_loop = loop_for("gemini", lambda url: GeminiProvider(LlmSettings(base_url=url, api_key=KEY, timeout_s=10)))


def check(data: bytes) -> None:
    _loop.run(asking(data))


def seeds() -> list[bytes]:
    whole = candidate("The Nile.") | usage(5, 7)
    thought = {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}], "role": "model"}}]}
    chunks = [thought, candidate("The ", None), candidate("Nile.", "STOP") | usage(5, 7)]
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    return [
        *variants(json.dumps(whole).encode(), "application/json"),
        *variants(json.dumps(chunks).encode(), "application/json"),
        variants(json.dumps(blocked).encode(), "application/json")[0], *refusals(),
    ]


TARGET = Target(
    "Google, for the SDK google-generativeai", check, seeds, Form.JSON, examples=60, seconds=6.0, close=_loop.close
)
