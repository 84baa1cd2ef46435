"""What Gemini's responses and refusals mean, whatever shape they have; and what both of Google's SDKs need to know."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from llm.chat_protocol import error_in, first_count, first_of, texts
from llm.complaints import Complaint
from llm.provider import ProviderError

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
_FINISH_NUMBERS = (
    "", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
    "MALFORMED_FUNCTION_CALL", "IMAGE_SAFETY",
)
"""The older SDK asks for numbers in place of names."""
_BLOCK_NUMBERS = ("", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY")
_NAME = re.compile(r"[0-9]{1,4}|[A-Z][A-Z_]{0,60}")
_RETRY_DELAY = re.compile(r'"retryDelay": ?"(\d{1,9}(?:\.\d{1,9})?)s"')

_MAX_CHARS = 200_000
"""No answer is collected beyond this: it is too long anyway, and whoever sent so much may never end."""
_CHARS_PER_TOKEN = 4
"""To guess how far an answer is where Gemini does not say."""


class Answer(NamedTuple):
    """The relevant parts of a response."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    complete: bool
    thoughts: str
    late: bool
    """The time limit cut it: then there may be no text."""


class ResponseCollector:
    """One answer: a whole response, or the chunks of a streamed one as they arrive, as decoded JSON."""

    def __init__(self, model: str) -> None:
        self.tokens = 0
        """The estimated number of tokens received so far."""
        self.late = False
        """The caller's time ran out before Gemini had finished."""
        self._model = model
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._chars = 0
        self._candidates = False
        self._finish = ""
        self._tokens_in: int | None = None
        self._tokens_out: int | None = None

    @property
    def too_much(self) -> bool:
        return self._chars > _MAX_CHARS

    @property
    def has_begun(self) -> bool:
        return bool(self._texts or self._thoughts)

    @property
    def is_over(self) -> bool:
        """It said why it ended."""
        return bool(self._finish)

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def add(self, response: dict[str, Any]) -> None:
        """Raises ProviderError if it says that there will be no answer."""
        feedback = response.get("promptFeedback", response.get("prompt_feedback"))
        if isinstance(feedback, dict):
            blocked = _name(feedback.get("blockReason", feedback.get("block_reason")), _BLOCK_NUMBERS)
            if blocked:
                raise ProviderError(f"{self._model} refused to answer: the prompt is blocked ({blocked})")
        candidate = first_of(response.get("candidates"))
        if candidate is not None:
            self._candidates = True
            self._add_candidate(candidate)
        usage = response.get("usageMetadata", response.get("usage_metadata"))
        if isinstance(usage, dict):
            self._tokens_in = first_count(usage, ("promptTokenCount", "prompt_token_count")) or self._tokens_in
            answered = first_count(usage, ("candidatesTokenCount", "candidates_token_count"))
            self._tokens_out = answered or self._tokens_out
        self.tokens = max(self.tokens, self._tokens_out or 0, self._chars // _CHARS_PER_TOKEN)

    def _add_candidate(self, candidate: Any) -> None:
        is_object = isinstance(candidate, dict)
        if is_object:
            finish = _name(candidate.get("finishReason", candidate.get("finish_reason")), _FINISH_NUMBERS)
            if finish and finish not in _FINISHED:
                known = _BLOCKED.get(finish)
                raise ProviderError(f"{self._model} stopped: {known or finish}", retryable=known is None)
            self._finish = finish or self._finish
        text, thought = texts(candidate.get("content", candidate.get("parts")) if is_object else candidate)
        for came, kept in ((text, self._texts), (thought, self._thoughts)):
            if came and not (kept is self._thoughts and self.too_much):
                kept.append(came)
        self._chars += len(text) + len(thought)

    def answer(self, *, streamed: bool) -> Answer:
        """The complete answer. Raises ProviderError if it is missing or incomplete: a stream that was cut
        looks like one that has ended, except for the finish reason, which only a complete one has."""
        text, model = self.text, self._model
        if not self._candidates:
            raise ProviderError(f"{model} returned no answer", retryable=True)
        counts = (self._tokens_in, self._tokens_out)
        if self.late:
            return Answer(text, *counts, False, "".join(self._thoughts), late=True)
        if streamed and not self._finish and not self.too_much:
            raise ProviderError(f"the answer is incomplete: {model} did not finish it", retryable=True)
        if not text.strip():
            if self._finish == "MAX_TOKENS":
                thinking = " thinking" if self._thoughts else ""
                raise ProviderError(f"{model} used up its tokens{thinking} before it wrote anything; raise max_tokens")
            raise ProviderError(f"{model} returned an empty answer", retryable=True)
        complete = self._finish != "MAX_TOKENS" and not self.too_much
        return Answer(text, *counts, complete, "".join(self._thoughts), late=False)


def failure_in(response: dict[str, Any]) -> Any:
    """What a response with status 200 says of a failure, in any dialect; None if it says nothing of one."""
    if "candidates" in response and not response.get("error"):
        return None
    return error_in(response)


def explained(complaint: Complaint, said: str, reason: str, model: str) -> str:
    """What users should know of a refusal: `said` in Google's words, or the `reason` that any server's has."""
    text = complaint.everything
    if "API_KEY_INVALID" in text or "api key not valid" in text.lower():
        return f"Gemini does not accept the API key: {said}"
    if complaint.status == 429:
        delay = retry_delay(complaint)
        when = "" if delay is None or not complaint.is_passing else f", retry in {delay:.0f} s"
        span = "for today " if "PerDay" in text else ""
        return f"Gemini's quota is exhausted {span}({said}){when}"
    if complaint.status == 404:
        return f"Gemini does not know the model {model}: {said}"
    return reason


def retry_delay(complaint: Complaint) -> float | None:
    """Seconds, from Google's RetryInfo, which looks like {"retryDelay": "23.4s"}."""
    found = _RETRY_DELAY.search(complaint.everything)
    return None if found is None else float(found[1])


def _name(value: Any, numbers: tuple[str, ...]) -> str:
    """The name of an enumeration's member, which comes as a number on request, or as whatever a server writes; empty
    for none. What is no valid name is not repeated."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        value = value.get("name", value.get("type"))
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int | float) and 0 <= value < len(numbers):
        return numbers[int(value)]
    name = str(value).strip().upper()
    if not name or name == "NONE" or name.endswith("_UNSPECIFIED"):
        return ""
    return name if _NAME.fullmatch(name) else "for an unknown reason"
