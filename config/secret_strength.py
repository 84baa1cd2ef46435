"""Whether a secret could be guessed: whoever has seen a proof of it may try as many as they like, unseen."""

from __future__ import annotations

import math
from collections import Counter

HOW_TO_DRAW = "To generate one: python3 -c 'import secrets; print(secrets.token_urlsafe(24))'"

ENOUGH_BITS = 48
"""By this estimate, which is low: what is drawn as above has 78 and more, 32 hexadecimal digits have 53 and more."""

_COMMON = (
    "password", "passwort", "passwd", "passphrase", "secret", "qwerty", "letmein", "welcome", "admin", "changeme",
    "change", "consensus", "cluster", "default", "example", "hunter", "iloveyou", "dragon", "monkey", "master",
    "token", "hello", "world", "test", "demo", "correct", "horse", "battery", "staple", "paxos", "please", "private",
)
_ROWS = ("qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm")
_LOOK_ALIKES = str.maketrans("0134578@$!", "oleastbasi")
_IN_A_WORD_BITS = 2.5
"""Of a letter within what may be a word."""


def is_weak(secret: str) -> bool:
    """A rough estimate, on the safe side: it may call a few random letters weak."""
    return _bits(secret) < ENOUGH_BITS


def _bits(secret: str) -> float:
    """Common words, repetitions, and runs like 1234 or asdf count for nothing."""
    text = _without_common_words(secret)
    fresh = [index for index in range(len(text)) if not _is_foreseeable(text, index)]
    if not fresh:
        return 0.0
    counts = Counter(text[index] for index in fresh).values()
    shown = -sum(count / len(fresh) * math.log2(count / len(fresh)) for count in counts)
    most = min(shown, _alphabet_bits(text))
    return sum(min(most, _IN_A_WORD_BITS) if _is_in_a_word(text, index) else most for index in fresh)


def _without_common_words(secret: str) -> str:
    plain = secret.translate(_LOOK_ALIKES).lower()
    if len(plain) != len(secret):  # letters whose small form is longer
        return secret
    for word in _COMMON:
        while (at := plain.find(word)) >= 0:
            plain, secret = (one[:at] + one[at + len(word):] for one in (plain, secret))
    return secret


def _is_foreseeable(text: str, index: int) -> bool:
    """From what is before it: one step up or down, a neighbour on the keyboard, or three characters seen before."""
    if index == 0:
        return False
    pair = text[index - 1 : index + 1].lower()
    if abs(ord(text[index]) - ord(text[index - 1])) <= 1 or any(pair in row or pair[::-1] in row for row in _ROWS):
        return True
    return index >= 2 and text[index - 2 : index + 1] in text[:index]


def _is_in_a_word(text: str, index: int) -> bool:
    """Whether it is the third letter of what may be a word, or a later one."""
    part = text[max(0, index - 2) : index + 1]
    return len(part) == 3 and part.isalpha() and (part[1:].islower() or part.isupper())


def _alphabet_bits(text: str) -> float:
    """Of one character, if it is one of those of its kinds."""
    kinds = (
        (26, any(char.islower() for char in text)), (26, any(char.isupper() for char in text)),
        (10, any(char.isdigit() for char in text)), (32, not all(char.isalnum() for char in text)),
    )
    return math.log2(sum(size for size, there in kinds if there))
