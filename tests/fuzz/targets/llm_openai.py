"""What an OpenAI-compatible server may send."""

from __future__ import annotations

from config.llm_settings import LlmSettings
from llm.providers.openai import OpenAIProvider
from tests.fuzz.llm_servers import KEY, asking, events, loop_for, refusals, variants
from tests.fuzz.target import Form, Target

_loop = loop_for(
    "openai",
    lambda url: OpenAIProvider(LlmSettings(model="m", base_url=f"{url}/v1", api_key=KEY, timeout_s=10), 1),
)


def check(data: bytes) -> None:
    _loop.run(asking(data))


def seeds() -> list[bytes]:
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": text, "reasoning_content": "hm"}, "finish_reason": finish}]}
        for text, finish in (("The ", None), (f"Nile {KEY}.", None), ("", "stop"))
    ]
    whole = (
        b'{"choices":[{"message":{"role":"assistant","content":"<think>hm</think>The Nile."},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":5,"completion_tokens":7}}'
    )
    return [
        *variants(events(*chunks, done=b"data: [DONE]\n\n"), "text/event-stream"), *variants(whole, "application/json"),
        *refusals(),
    ]


TARGET = Target("an OpenAI-compatible server", check, seeds, Form.JSON, examples=100, seconds=6.0, close=_loop.close)
