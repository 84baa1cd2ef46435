"""What Google may send to the SDK google-genai: one JSON value, or a stream of events."""

from __future__ import annotations

import json

from config.llm_settings import LlmSettings
from llm.providers.google_genai import GoogleGenaiProvider
from tests.fuzz.llm_servers import KEY, asking, events, loop_for, refusals, variants
from tests.fuzz.target import Form, Target
from tests.unit.llm.gemini_tools import candidate, usage

_loop = loop_for("google-genai", lambda url: GoogleGenaiProvider(LlmSettings(base_url=url, api_key=KEY, timeout_s=10)))


def check(data: bytes) -> None:
    _loop.run(asking(data))


def seeds() -> list[bytes]:
    whole = candidate("The Nile.") | usage(5, 7)
    thought = {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}], "role": "model"}}]}
    chunks = [thought, candidate("The ", None), candidate("Nile.", "STOP") | usage(5, 7)]
    return [
        *variants(json.dumps(whole).encode(), "application/json"), *variants(events(*chunks), "text/event-stream"),
        *refusals(),
    ]


TARGET = Target(
    "Google, for the SDK google-genai", check, seeds, Form.JSON, examples=60, seconds=6.0, close=_loop.close
)
