"""What a server takes of a request: an optional field that it refuses is renamed, bounded or left out from then on."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias, TypeVar

from llm.complaints import Complaint, Refused
from llm.provider import ContextExceeded, ProviderError
from llm.wording import plain

Body: TypeAlias = dict[str, Any]
T = TypeVar("T")

_log = logging.getLogger(__name__)

_FIELDS = {
    "stream_options": r"stream_?options|include_usage",
    "max_tokens": r"max_?(?:completion_?|new_?|output_?)?tokens|max_?length|num_predict",
    "seed": r"seed",
    "temperature": r"temperature",
    "stream": r"stream(?:ing|ed|generatecontent)?",
    "system": r"system(?:_?instructions?)?|developer instructions?|roles?",
}
"""The optional fields, and what servers call them. `system` is the role of a message; a server without it gets that
text at the head of the first question."""
_NAMES = {
    name: re.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z0-9_])", re.IGNORECASE) for name, words in _FIELDS.items()
}

_NOUN = r"(?:parameter|field|argument|keyword|role|propert(?:y|ie)|option)s?"
_NAMES_EXPRESSLY = {
    name: re.compile(
        rf"[\"'`](?:{words})[\"'`]|\b{_NOUN}:? (?:{words})\b|\b(?:{words}) (?:{_NOUN}\b|must alternate|are supported)",
        re.IGNORECASE,
    )
    for name, words in _FIELDS.items()
}
"""As a field of the request, not as a word of English."""
_ABOUT_OTHERS = re.compile(r'"(?:model|messages|contents)\b')
_OTHER_REASONS = (401, 402, 403, 404, 408, 409, 425, 429)
"""HTTP's statuses of what has nothing to do with the form of a request."""

_REFUSES = re.compile(
    r"un(?:supported|expected|known|recogni[sz]ed|permitted)"
    r"|not\b.{0,20}\b(?:support|permit|allow|accept|recogni[sz]|enabled|valid)"
    r"|not (?:found|implemented)|unimplemented"
    r"|does ?n.t|extra|invalid|forbidden|only|must|should|cannot|disallow|no longer|deprecated"
    r"|too (?:large|small|high|low)|out of range|exceed",
    re.IGNORECASE,
)
_NUMBER = r"(\d{1,3}(?:,\d{3})+|\d{1,9})(?![A-Za-z0-9_>])"  # not <400>
_TO = r'(?:(?!, ?\\?")\D){0,30}'
"""What may stand between a word and its number: not the end of a JSON value, behind which its status comes."""
_BEFORE, _AFTER = r"(?<![A-Za-z0-9_])", r"(?![A-Za-z0-9_])"  # of a word; Chinese needs no spaces
_AT_MOST = re.compile(
    rf"(?:{_BEFORE}(?:at most|max(?:imum)?|up to|less than|limit){_AFTER}{_TO}|<=?{_TO}"
    rf"|[\[(]\s*\d{{1,9}}\s*[,~-]\s*|{_BEFORE}(?:between|from) \d{{1,9}}\D{{1,20}}|(?<=\d) ?> ?){_NUMBER}",
    re.IGNORECASE,
)
_AT_LEAST = re.compile(
    rf"(?:{_BEFORE}(?:at least|min(?:imum)?|greater than|between|from){_AFTER}{_TO}|>=?{_TO}"
    rf"|[\[(]\s*(?=\d{{1,9}}\s*[,~-]\s*\d)){_NUMBER}",
    re.IGNORECASE,
)
_FEWEST = 16
"""Tokens: no server means less by a bound on answers; it is another number in its words."""

_NEW_NAME = "max_completion_tokens"
_MAX_LESSONS = 16
"""Requests for one answer, most of them refused: each refusal teaches something, but a server may contradict itself."""


class Accommodation:
    """What one server takes, as far as it has said. `who` is its name for users, who are told of each change once.
    `renames`: max_tokens has a newer name."""

    def __init__(self, who: str, secrets: tuple[str, ...], *, renames: bool = True) -> None:
        self._who = who
        self._secrets = secrets
        self._renames = renames
        self._left_out: set[str] = set()
        self._renamed = False
        """It takes max_completion_tokens for max_tokens."""
        self._most_tokens: int | None = None
        self._least_tokens = 0

    async def ask(self, body: Body, ask: Callable[[Body], Awaitable[T]]) -> T:
        """What `ask` returns for a form of the request that the server takes: it is asked again as long as there is
        something new to learn from a refusal. Raises ContextExceeded if only a shorter conversation would help."""
        bare = False
        for _ in range(_MAX_LESSONS):
            sent = self.adapt(body, bare=bare)
            try:
                answer = await ask(sent)
            except Refused as refused:
                if bare:
                    raise
                is_current = self.adapt(body) == sent
                if not self._learns(refused.complaint, sent, is_current):
                    if not self.may_be_any(refused.complaint, sent):
                        raise
                    bare = is_current
                continue
            if bare:
                self.take_bare()
            return answer
        raise ProviderError(f"{self._who} refuses each form of the request")

    def _learns(self, complaint: Complaint, sent: Body, is_current: bool) -> bool:
        if not complaint.is_too_long:
            return self.learn(complaint, sent, is_current=is_current)
        limit = complaint.limit
        if limit is not None and self.shorten(limit // 2, sent, is_current=is_current):
            return True
        said = plain(complaint.said, *self._secrets)
        raise ContextExceeded(f"{self._who} finds the conversation too long: {said}", limit)

    def adapt(self, body: Body, *, bare: bool = False) -> Body:
        """The request as this server takes it; if `bare`, without anything optional."""
        left_out = _FIELDS.keys() if bare else self._left_out
        adapted = {name: value for name, value in body.items() if name not in left_out}
        if "stream" in left_out:
            adapted.pop("stream_options", None)
        if "system" in left_out:
            adapted["messages"] = _without_system(adapted["messages"])
        if "max_tokens" in adapted:
            tokens = max(adapted.pop("max_tokens"), self._least_tokens)
            name = _NEW_NAME if self._renamed else "max_tokens"
            adapted[name] = tokens if self._most_tokens is None else min(tokens, self._most_tokens)
        return adapted

    def learn(self, complaint: Complaint, sent: Body, *, is_current: bool = True) -> bool:
        """Whether the request may succeed without, or with less of, what the server complains about. `sent` is the
        request that it refused. `is_current`: it would be sent so again; otherwise another request has taught something
        meanwhile, which is tried first."""
        name = _named(complaint, sent)
        if name is not None and is_current:
            self._give_up(name, complaint, sent)
        return name is not None

    def may_be_any(self, complaint: Complaint, sent: Body) -> bool:
        """Whether a bare request is worth a try: the complaint may be about any of the optional fields in `sent`."""
        names_one = any(name.search(complaint.everything) for name in _NAMES.values())
        return complaint.is_unclear and not names_one and any(_sent_fields(sent))

    def take_bare(self) -> None:
        """A bare request succeeded where another one was refused."""
        if len(self._left_out) < len(_FIELDS):
            self._left_out.update(_FIELDS)
            _log.warning("%s refuses optional fields without saying which: none are sent from now on", self._who)

    def shorten(self, most: int, sent: Body, *, is_current: bool = True) -> bool:
        """Asks for answers of at most so many tokens from now on. False if they are no longer anyway."""
        tokens = _max_tokens(sent)
        if tokens is None or tokens <= most or most < _FEWEST:
            return False
        if is_current:
            self._most_tokens = most
            _log.warning("%s has not room for answers of %d tokens: at most %d from now on", self._who, tokens, most)
        return True

    def _give_up(self, name: str, complaint: Complaint, sent: Body) -> None:
        if name == "max_tokens" and self._bound(complaint, sent):
            return
        if name == "max_tokens" and self._renames and not self._renamed:
            self._renamed = True
            _log.warning("%s does not take max_tokens: it gets %s from now on", self._who, _NEW_NAME)
            return
        self._left_out.add(name)
        what = "a system prompt: it is put before the first question" if name == "system" else f"{name}: it is left out"
        _log.warning("%s does not take %s from now on", self._who, what)

    def _bound(self, complaint: Complaint, sent: Body) -> bool:
        """Whether it is only the number of tokens that the server does not take, and it says which it does."""
        tokens = _max_tokens(sent)
        if tokens is None:
            return False
        text = complaint.everything
        above = tokens + 1 if tokens == self._most_tokens else tokens  # a bound still refused was meant exclusively
        lower = [number for number in _numbers(_AT_MOST, text) if _FEWEST <= number < above]
        if lower:
            self._most_tokens = min(max(lower), tokens - 1)
            _log.warning("%s takes max_tokens up to %d: that is what it gets", self._who, self._most_tokens)
            return True
        higher = [number for number in _numbers(_AT_LEAST, text) if number > tokens]
        if higher:
            self._least_tokens = min(higher)
            _log.warning("%s takes max_tokens from %d on: that is what it gets", self._who, self._least_tokens)
        return bool(higher)


def _numbers(after: re.Pattern[str], text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in after.findall(text)]


def _max_tokens(body: Body) -> int | None:
    return body.get("max_tokens", body.get(_NEW_NAME))


def _sent_fields(body: Body) -> Iterator[str]:
    """The optional fields in a request."""
    for name in _FIELDS:
        if name == "system":
            is_sent = body["messages"][0]["role"] == "system"
        else:
            is_sent = name in body or (name == "max_tokens" and _NEW_NAME in body)
        if is_sent:
            yield name


def _named(complaint: Complaint, sent: Body) -> str | None:
    """The field that the server names as the cause, else the one that it mentions first."""
    status = complaint.meant
    if status in _OTHER_REASONS:
        return None
    mentioned = _first_mentioned(complaint.fields, sent)
    if mentioned is not None:
        return mentioned
    if complaint.status not in (400, 422) and _REFUSES.search(complaint.everything) is None:
        return None
    if status is None or status >= 500 or _ABOUT_OTHERS.search(complaint.fields) is not None:
        return _first_mentioned(complaint.said, sent, _NAMES_EXPRESSLY)
    return _first_mentioned(complaint.said, sent) or _first_mentioned(complaint.everything, sent)


def _first_mentioned(text: str, sent: Body, names: dict[str, re.Pattern[str]] = _NAMES) -> str | None:
    found = ((match.start(), name) for name in _sent_fields(sent) if (match := names[name].search(text)) is not None)
    return min(found, default=(0, None))[1]


def _without_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    if messages[0]["role"] != "system":
        return messages
    system, first, *others = messages
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *others]
