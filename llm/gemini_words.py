"""What Gemini's responses and refusals mean, whichever of Google's two SDKs brings them."""

from __future__ import annotations

from typing import Any, NamedTuple

from llm.provider import ProviderError
from llm.wording import plain

DEFAULT_MODEL = "gemini-flash-latest"

_BLOCKED = {
    "SAFETY": "its safety filter does not allow the answer",
    "IMAGE_SAFETY": "its safety filter does not allow the answer",
    "RECITATION": "the answer would recite copyrighted text",
    "LANGUAGE": "it does not support the language",
    "BLOCKLIST": "the answer holds forbidden words",
    "PROHIBITED_CONTENT": "the answer would hold prohibited content",
    "SPII": "the answer would hold personal data",
}
_FINISHED = ("STOP", "MAX_TOKENS", "FINISH_REASON_UNSPECIFIED", "None")


class Answer(NamedTuple):
    """What is of interest in a response."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    complete: bool


def read(response: Any, model: str) -> Answer:
    """The answer in a response of the SDK. Raises ProviderError if it holds none.

    Field by field: the SDK's shortcut `.text` raises for every response that is not quite ordinary.
    """
    feedback = response.prompt_feedback
    blocked = "None" if feedback is None else _name_of(feedback.block_reason)
    if blocked not in ("None", "0", "BLOCK_REASON_UNSPECIFIED"):
        raise ProviderError(f"{model} does not answer this: the prompt is blocked ({blocked})")
    if not response.candidates:
        raise ProviderError(f"{model} returned no answer", retryable=True)
    candidate = response.candidates[0]
    finish = _name_of(candidate.finish_reason)
    if finish not in _FINISHED:
        known = _BLOCKED.get(finish)
        raise ProviderError(f"{model} stopped: {known or finish}", retryable=known is None)
    parts = [] if candidate.content is None else candidate.content.parts or []
    text = "".join(part.text or "" for part in parts if not getattr(part, "thought", False))
    if not text.strip():
        if finish == "MAX_TOKENS":
            raise ProviderError(f"{model} used up its tokens before it wrote anything; allow more with max_tokens")
        raise ProviderError(f"{model} returned an empty answer", retryable=True)
    usage = response.usage_metadata
    tokens_in, tokens_out = (
        (None, None) if usage is None else (usage.prompt_token_count or None, usage.candidates_token_count or None)
    )
    return Answer(text, tokens_in, tokens_out, finish != "MAX_TOKENS")


def explain_status(status: int, message: str, details: list[dict[str, Any]], model: str, key: str) -> ProviderError:
    """What a refusal means to the user. `details` are those of Google's error model."""
    said = plain(message, key)
    if status in (401, 403) or "API_KEY_INVALID" in str(details) or "api key not valid" in said.lower():
        return ProviderError(f"Gemini does not accept the API key: {said}")
    if status == 429:
        lasting = "PerDay" in str(details)
        span = "for today " if lasting else ""
        delay = _retry_delay(details)
        when = "" if delay is None or lasting else f", retry in {delay:.0f} s"
        return ProviderError(
            f"Gemini's quota is used up {span}({said}){when}", retryable=not lasting, retry_after_s=delay
        )
    if status == 404:
        return ProviderError(f"Gemini knows no model {model}: {said}")
    if status >= 500 or status == 408:
        return ProviderError(f"Gemini is overloaded or failing (HTTP {status}): {said}", retryable=True)
    return ProviderError(f"Gemini refused the request (HTTP {status}): {said}")


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds, from Google's RetryInfo, which looks like {"retryDelay": "23.4s"}."""
    for detail in details:
        try:
            return max(0.0, float(str(detail["retryDelay"]).removesuffix("s")))
        except (KeyError, ValueError):
            continue
    return None


def _name_of(value: Any) -> str:
    """Of an enumeration's member; a value that the SDK does not know yet comes as a bare number."""
    return str(getattr(value, "name", value))
