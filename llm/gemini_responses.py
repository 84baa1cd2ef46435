"""What the providers `gemini` and `google-genai` share: what Gemini's responses and refusals mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from config.llm_settings import LlmSettings
from llm.complaints import Complaint
from llm.provider import ContextExceeded, ProviderError
from llm.server_address import server_address, written_forms
from llm.settings import held_back
from llm.wording import plain

DEFAULT_MODEL = "gemini-flash-latest"
KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
GOOGLE_HOST = "generativelanguage.googleapis.com"
CONTEXT_TOKENS = 1_000_000

_BLOCKED = {
    "SAFETY": "its safety filter does not allow the answer",
    "IMAGE_SAFETY": "its safety filter does not allow the answer",
    "RECITATION": "the answer would recite copyrighted text",
    "LANGUAGE": "it does not support the language",
    "BLOCKLIST": "the answer contains forbidden words",
    "PROHIBITED_CONTENT": "the answer would contain prohibited content",
    "SPII": "the answer would contain personal data",
}
_FINISHED = ("STOP", "MAX_TOKENS")
_UNSAID = ("None", "0", "FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED")

_NAME = re.compile(r"None|[0-9]{1,4}|[A-Z][A-Z_]{0,60}")

_MAX_CHARS = 200_000
"""No answer is collected beyond this: it is too long anyway, and whoever sent so much may never end."""
MAX_BODY = 4_000_000
"""Bytes of a response that are read at most."""
_CHARS_PER_TOKEN = 4
"""To guess how far an answer is where Gemini does not say."""


class Answer(NamedTuple):
    """The relevant parts of a response."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    complete: bool
    thoughts: str


class ResponseCollector:
    """One answer: a whole response, or the chunks of a streamed one as they arrive.

    Reads each field: the SDKs' shortcut `.text` raises for every unusual response.
    """

    def __init__(self, model: str) -> None:
        self.tokens = 0
        """The estimated number of tokens received so far."""
        self._model = model
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._chars = 0
        self._candidates = False
        self._finish: str | None = None
        self._tokens_in: int | None = None
        self._tokens_out: int | None = None

    @property
    def too_much(self) -> bool:
        return self._chars > _MAX_CHARS

    def take_thoughts(self, chunk: Any) -> None:
        """Takes the thoughts out of a decoded chunk: the older SDK does not know them, and takes them for text."""
        for candidate in _dicts(chunk, "candidates"):
            for part in _dicts(candidate.get("content"), "parts"):
                if part.get("thought") is True and isinstance(part.get("text"), str):
                    self._thoughts.append(part["text"])
                    part["text"] = ""

    def add(self, response: Any) -> None:
        """Adds a response of one of the SDKs. Raises ProviderError if it says that there will be no answer."""
        feedback = response.prompt_feedback
        blocked = "None" if feedback is None else _name_of(feedback.block_reason)
        if blocked not in _UNSAID:
            raise ProviderError(f"{self._model} refused to answer: the prompt is blocked ({blocked})")
        if response.candidates:
            self._candidates = True
            self._add_candidate(response.candidates[0])
        usage = response.usage_metadata
        if usage is not None:
            self._tokens_in = usage.prompt_token_count or self._tokens_in
            self._tokens_out = usage.candidates_token_count or self._tokens_out
        self.tokens = max(self.tokens, self._tokens_out or 0, self._chars // _CHARS_PER_TOKEN)

    def _add_candidate(self, candidate: Any) -> None:
        finish = _name_of(candidate.finish_reason)
        if finish not in (*_FINISHED, *_UNSAID):
            known = _BLOCKED.get(finish)
            raise ProviderError(f"{self._model} stopped: {known or finish}", retryable=known is None)
        if finish in _FINISHED:
            self._finish = finish
        parts = [] if candidate.content is None else candidate.content.parts or []
        for part in parts:
            if part.text:
                (self._thoughts if getattr(part, "thought", False) else self._texts).append(part.text)
                self._chars += len(part.text)

    def answer(self, *, streamed: bool) -> Answer:
        """The complete answer. Raises ProviderError if it is missing or incomplete: a stream that was cut
        looks like one that has ended, except for the finish reason, which only a complete one has."""
        text, model = "".join(self._texts), self._model
        if not self._candidates:
            raise ProviderError(f"{model} returned no answer", retryable=True)
        if streamed and self._finish is None and not self.too_much:
            raise ProviderError(f"the answer is incomplete: {model} did not finish it", retryable=True)
        if not text.strip():
            if self._finish == "MAX_TOKENS":
                raise ProviderError(f"{model} used up its tokens before it wrote anything; raise max_tokens")
            raise ProviderError(f"{model} returned an empty answer", retryable=True)
        complete = self._finish != "MAX_TOKENS" and not self.too_much
        return Answer(text, self._tokens_in, self._tokens_out, complete, "".join(self._thoughts))


def secrets_of(key: str, settings: LlmSettings) -> tuple[str, ...]:
    """What must not appear in reasons."""
    return (*written_forms(key), *server_address(with_scheme(settings.base_url or GOOGLE_HOST)).secrets)


def with_scheme(base_url: str) -> str:
    """The older SDK takes a host alone, too."""
    return base_url if "://" in base_url else f"https://{base_url}"


def no_key(settings: LlmSettings) -> str:
    """Why there is no key for the configured address, as a sentence."""
    if held_back(settings, KEY_VARIABLES):
        return "no API key for this base_url: say which with api_key or api_key_env; that of Google goes to Google only"
    return f"no Gemini API key: set {KEY_VARIABLES[0]}, or choose the provider local"


def explain_status(
    status: int, message: str, details: list[dict[str, Any]], model: str, secrets: Sequence[str]
) -> ProviderError:
    """Translates an error response for users. `details` are those of Google's error model."""
    said = plain(message, *secrets)
    complaint = Complaint(said, message, "", status)
    if status in (400, 413) and complaint.is_too_long:
        return ContextExceeded(f"Gemini finds the conversation too long: {said}", complaint.limit)
    if status in (401, 403) or "API_KEY_INVALID" in str(details) or "api key not valid" in said.lower():
        return ProviderError(f"Gemini does not accept the API key: {said}")
    if status == 429:
        lasting = "PerDay" in str(details)
        span = "for today " if lasting else ""
        delay = _retry_delay(details)
        when = "" if delay is None or lasting else f", retry in {delay:.0f} s"
        return ProviderError(
            f"Gemini's quota is exhausted {span}({said}){when}", retryable=not lasting, retry_after_s=delay
        )
    if status == 404:
        return ProviderError(f"Gemini does not know the model {model}: {said}")
    if status >= 500 or status == 408:
        return ProviderError(f"Gemini is overloaded or failing (HTTP {status}): {said}", retryable=True)
    return ProviderError(f"Gemini refused the request (HTTP {status}): {said}")


def _dicts(value: Any, name: str) -> list[dict[str, Any]]:
    """The objects in the list `name` of an object; none if there is no such list."""
    inner = value.get(name) if isinstance(value, dict) else None
    return [one for one in inner if isinstance(one, dict)] if isinstance(inner, list) else []


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds, from Google's RetryInfo, which looks like {"retryDelay": "23.4s"}."""
    for detail in details:
        try:
            return max(0.0, float(str(detail["retryDelay"]).removesuffix("s")))
        except (KeyError, ValueError):
            continue
    return None


def _name_of(value: Any) -> str:
    """The name of an enumeration's member; a value unknown to the SDK comes as a bare number, or as whatever the
    server wrote, which is used only if it is a valid name."""
    name = str(getattr(value, "name", value))
    return name if _NAME.fullmatch(name) else "for an unknown reason"
