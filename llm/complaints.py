"""What a server says when it refuses or fails, in any of the dialects that there are: the reason in words, and what can
be learned from it."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from llm.body_parser import parse
from llm.provider import ProviderError
from llm.wording import is_page, said_by_page

_MAX_DEPTH = 8
_MAX_PARTS = 3
_MAX_CHARS = 8_000
"""Characters that are searched. The patterns below take time in proportion to a text, however hostile it is."""

_REASON_KEYS = (
    "error", "message", "detail", "msg", "errors", "error_message", "error_msg", "error_description", "reason",
    "description", "title", "details", "status_msg", "text", "choices", "delta",
    "base_resp",
)
_FIELD_KEYS = ("param", "loc", "field", "parameter", "pointer", "path")

_CODE = re.compile(r'"(?:code|status|status_code|error_code)": ?"?([1-9]\d{2})(\d{2})?"?[,}]')

_LASTING = re.compile(
    r"invalid.request|invalid.argument|bad.?request|unsupported|not.supported|not.found|does not exist|no such"
    r"|unauthori[sz]ed|authentication|permission|forbidden|api.?key|insufficient.quota|current quota|billing|balance"
    r"|credit|context.length|context.window|not allowed|not permitted|unknown model|moderation|content.policy",
    re.IGNORECASE,
)
_QUOTA_FOR_LONG = re.compile(
    r"insufficient.quota|per.?day|daily|balance|arrears|credits? |out of credit", re.IGNORECASE,
)
_QUOTA_UNLESS_DELAYED = re.compile(r"current.quota|billing|payment", re.IGNORECASE)
"""For long, too, unless a delay is named: Google says the same of the quota of a minute."""
_DELAY = re.compile(r"retry_?delay|try (?:again )?(?:in|after) \d", re.IGNORECASE)
_UNCLEAR_ABOUT = re.compile(
    r"\bmodel\b|deployment|api.?key|auth|credential|quota|billing|balance|credit|polic|safety|moderat|flagged",
    re.IGNORECASE,
)

_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|n_ctx|num_ctx"
    r"|max(?:imum)?.(?:(?:model|sequence|input|prompt|context).){1,3}(?:length|len|tokens?|size)"
    r"|(?:prompt|input|inputs|messages?|request|conversation|history)\b.{0,40}\btoo (?:long|large|big|many)"
    r"|too many (?:input |prompt |total |messages|tokens)|reduce (?:the |your )?(?:length|message|prompt|input|number)"
    r"|(?:request|payload|content|body|entity) (?:entity |body )?(?:is )?too (?:large|long|big)"
    r"|tokens?\b.{0,60}\bexceed|exceed(?:s|ed|ing)?\b.{0,60}\b(?:context|tokens?\b|input)|inputs?. tokens|token.?limit"
    r"|(?:prompt|input|sequence|conversation)\b.{0,30}\b(?:length|size)\b.{0,30}\bexceed|must have less than \d+ tokens"
    r"|range of input length|max_(?:seq|model)_len|more than (?:the )?max(?:imum)? tokens",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LARGE_FOR_QUOTA = re.compile(r"request too large|must be reduced", re.IGNORECASE)
_RATE_LIMIT = re.compile(r"rate.?limit|too many requests|throttl|per.min(?:ute)?\b", re.IGNORECASE)
_WAIT = re.compile(r"try (?:again )?(?:later|in|after)\b|please wait", re.IGNORECASE)
_OUTPUT_BOUND = re.compile(
    r"max_(?:completion_|new_|output_)?tokens|maxtokens|(?:completion|output) tokens", re.IGNORECASE
)
_CONTEXT = re.compile(r"context|messages|prompt|input", re.IGNORECASE)
_NUMBER = (
    r"(?<![\w.\-])(\d{1,3}(?:[,_]\d{3})+|\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?=.tokens)|\d{2,9})(k?)"
    r"(?![\w\-]|\.\d| ?[+>])"
)
_CONTEXT_LIMIT = re.compile(
    r"(?:(?:context|model|sequence)[ _](?:length|window|size|limit)|n_ctx|num_ctx|max_(?:seq|model)_len)"
    rf"(?:(?!\bby\b)[^\d]){{0,40}}{_NUMBER}|input length should be \[\d+, ?{_NUMBER}",
    re.IGNORECASE,
)
"""Where a complaint also has other numbers, this one counts."""
_OF_CHARACTERS = re.compile(r"string too long|\d (?:characters|chars|bytes)\b", re.IGNORECASE)
_LIMIT = re.compile(
    r"(?:max(?:imum)?|limit|window|context|n_ctx|num_ctx|at most|up to|less than|allowed|supports?|not exceed|<=?|>)"
    rf"(?:(?!\bby\b)[^\d]){{0,60}}{_NUMBER}|{_NUMBER}\s*(?:tokens?\s*)?max",
    re.IGNORECASE,
)


class Complaint(NamedTuple):
    """A refusal or a failure. `status` is that of HTTP; None if it came within an answer that had begun well."""

    said: str
    """The reason in the server's words; empty if it gave none."""
    everything: str
    """All that it sent, as text."""
    fields: str
    """The field of the request that it names as the cause, if it does so in a way of its own."""
    status: int | None

    @property
    def is_lasting(self) -> bool:
        """Whether the same request will be refused again, as far as one can tell without a status of HTTP."""
        code = self.code
        if code is not None:
            return 400 <= code < 500 and code not in (408, 409, 425, 429)
        return _LASTING.search(self.everything) is not None

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        status = self.status
        if self.is_too_long:
            return False
        if self.meant == 429:
            return not self._is_quota_for_long
        if status is None:
            return not self.is_lasting
        if status == 500:
            return _LASTING.search(self.everything) is None
        return status in (408, 409, 425) or (status > 500 and status not in (501, 505))

    @property
    def code(self) -> int | None:
        """The status that is written in it; FastChat's codes begin like those of HTTP, but for bad requests."""
        found = _CODE.search(self.everything)
        if found is None:
            return None
        return 400 if found[1] == "403" and found[2] else int(found[1])

    @property
    def meant(self) -> int | None:
        """The status of HTTP; within an answer that had begun well, the one that it would have been."""
        if self.status is not None:
            return self.status
        return 429 if self.code is None and _RATE_LIMIT.search(self.everything) is not None else self.code

    @property
    def _is_quota_for_long(self) -> bool:
        text = self.everything
        if _QUOTA_FOR_LONG.search(text) is not None:
            return True
        return _QUOTA_UNLESS_DELAYED.search(text) is not None and _DELAY.search(text) is None

    @property
    def is_unclear(self) -> bool:
        """It may be about anything that was in the request."""
        return self.status in (400, 415, 422, 501) and _UNCLEAR_ABOUT.search(self.everything) is None

    @property
    def is_too_long(self) -> bool:
        """The conversation is too long for the model."""
        status, text = self.meant, self.everything
        if status in (401, 402, 403, 404):
            return False
        if status == 413:
            return True
        if status not in (400, 422) and _WAIT.search(text) is not None:
            return False
        if (_TOO_LARGE_FOR_QUOTA if status == 429 else _TOO_LONG).search(text) is None:
            return False
        return _OUTPUT_BOUND.search(text) is None or _CONTEXT.search(text) is not None

    @property
    def limit(self) -> int | None:
        """The number of tokens that it gives as the most there may be; None if it gives none."""
        text = self.everything
        if _OF_CHARACTERS.search(text) is not None:
            return None
        found = [_number(match) for match in (*_CONTEXT_LIMIT.finditer(text),) or _LIMIT.finditer(text)]
        return min((number for number in found if number >= 16), default=None)


class Refused(ProviderError):
    """A server refused or failed, and said what its `complaint` is."""

    def __init__(
        self, reason: str, complaint: Complaint, *, retryable: bool, retry_after_s: float | None = None
    ) -> None:
        super().__init__(reason, retryable=retryable, retry_after_s=retry_after_s)
        self.complaint = complaint


def _number(match: re.Match[str]) -> int:
    digits, thousands = (match[1], match[2]) if match[1] else (match[3], match[4])
    return int(re.sub(r"\D", "", digits)) * (1000 if thousands else 1)


def complaint(body: Any, status: int | None = None) -> Complaint:
    """What a decoded body complains about."""
    everything = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)
    said, fields = message_of(body), " ".join(_fields(body))
    return Complaint(said[:_MAX_CHARS], everything[:_MAX_CHARS], fields[:_MAX_CHARS], status)


def complaint_of_text(text: str, status: int | None = None) -> Complaint:
    """The same, of a body that may be JSON, a page, or a plain text."""
    try:
        return complaint(parse(text), status)
    except ValueError:
        said = said_by_page(text) if is_page(text) else text[:_MAX_CHARS]
        return Complaint(said, text[:_MAX_CHARS], "", status)


def message_of(error: Any, depth: int = 0) -> str:
    """The reason in words, with its code, however deep a server has put it."""
    if depth > _MAX_DEPTH or error is None or isinstance(error, bool):
        return ""
    if isinstance(error, list):
        parts = dict.fromkeys(message_of(part, depth + 1) for part in error[:20])
        return "; ".join([part for part in parts if part][:_MAX_PARTS])
    if not isinstance(error, dict):
        return _unwrapped(str(error), depth)
    error = {str(name).lower(): part for name, part in error.items()}  # Amazon's begin with a capital
    found = {name: message_of(error.get(name), depth + 1) for name in _REASON_KEYS}
    said = next((text for text in found.values() if text), "")
    # Spring and others name the kind of error in one key, and say in the next what it is.
    if isinstance(error.get("error"), str) and found["message"] not in ("", said):
        said = f"{said}: {found['message']}"
    where = error.get("loc")
    if said and isinstance(where, list):
        named = ".".join(str(part) for part in where if part != "body")
        said = f"{named}: {said}" if named else said
    code = error.get("code")
    return f"{said} ({code})" if said and isinstance(code, str) and code not in said else said


def _unwrapped(text: str, depth: int) -> str:
    """A text that is itself JSON, from a server that passes on what another one said; or a page."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return message_of(parse(text), depth + 1) or text
        except ValueError:
            return text
    return said_by_page(text) if is_page(text) else text


def _fields(body: Any, depth: int = 0) -> list[str]:
    """The values that name a field of the request."""
    if depth > _MAX_DEPTH:
        return []
    if isinstance(body, list):
        return [name for part in body[:20] for name in _fields(part, depth + 1)]
    if not isinstance(body, dict):
        return []
    named = [json.dumps(body[name]) for name in _FIELD_KEYS if isinstance(body.get(name), str | list)]
    return named + [name for part in body.values() for name in _fields(part, depth + 1)]
