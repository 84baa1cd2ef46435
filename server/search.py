"""Full-text search in all conversations: an index beside the store, made of it when somebody searches first.

It holds nothing that the store does not, so it is neither replicated nor stored. What has changed is only noted as it
is applied, by context id, and indexed with the next search: a node at which nobody searches pays nothing.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from kvstore.conversation import Conversation
from kvstore.operations import Rename
from kvstore.store import Outcome

MAX_INDEXED_BYTES: Final = 256 * 1024 * 1024
"""Of text; the index takes as much again. What is beyond, the oldest conversations, is left out."""
MAX_WORDS: Final = 32
MAX_SECONDS: Final = 5.0
_AT_ONCE: Final = 2 * 1024 * 1024
"""Bytes of text that are gathered, and indexed, in one step."""
_CONSIDERED: Final = 1000
"""Texts, best first: of those of one question, only the best is shown."""
_STEPS: Final = 10_000
"""Of SQLite's, between two looks at the clock."""
_OPEN, _CLOSE = "\ue000", "\ue001"
"""Around what is found. For private use: texts that are indexed have none of them."""
_NO_MARKS: Final = str.maketrans({_OPEN: "\ufffd", _CLOSE: "\ufffd"})
_EXCERPT_WORDS: Final = 16
_WORD: Final = re.compile(r"\w[\w\u0300-\u036f]*")
"""An accent may be a character of its own, and is then no word's end."""

_TABLES: Final = """
CREATE VIRTUAL TABLE texts USING fts5(text, tokenize="unicode61 remove_diacritics 2");
CREATE TABLE places (id INTEGER PRIMARY KEY, context TEXT NOT NULL, turn INTEGER NOT NULL, node INTEGER);
CREATE INDEX places_of ON places (context);
"""
_FIND: Final = f"""
SELECT context, turn, node, snippet(texts, 0, '{_OPEN}', '{_CLOSE}', '…', {_EXCERPT_WORDS})
FROM texts JOIN places ON places.id = texts.rowid WHERE texts MATCH ? ORDER BY rank LIMIT ?
"""


class SearchError(Exception):
    """Says in a sentence why nothing can be found."""


class Found(NamedTuple):
    context: str
    turn: int
    """0: the words are in the name or the title of the conversation."""
    node: int | None
    """Whose answer it is; None: it is the question, or the name."""
    parts: list[str]
    """A part of the text; every second piece, from the second on, is what was looked for."""


class _Text(NamedTuple):
    context: str
    turn: int
    node: int | None
    text: str


_Row: TypeAlias = tuple[str, int, int | None, str]
"""Conversation, turn, node, excerpt."""


class SearchIndex:
    """Of one node's conversations. Texts are gathered in the event loop, and indexed in a thread."""

    def __init__(self, conversations: Callable[[], Mapping[str, Conversation]]) -> None:
        self._conversations = conversations
        self._database: sqlite3.Connection | None = None
        self._changed: set[str] = set()
        """Context ids: what is indexed of them is old."""
        self._indexed: set[str] = set()
        """Context ids: what was there of them is indexed."""
        self._lock = asyncio.Lock()

    def on_applied(self, outcome: Outcome) -> None:
        """To be called after each operation that is applied."""
        if self._database is None or not outcome.ok or outcome.context is None:
            return
        self._changed.add(outcome.context)
        if type(outcome.operation) is Rename:
            self._changed.add(outcome.operation.name)

    def on_installed(self) -> None:
        """All conversations were replaced."""
        if self._database is not None:
            self._changed.update(self._indexed, self._conversations())

    async def find(self, words: str, limit: int) -> tuple[list[Found], bool]:
        """The best `limit`, and whether there are more. Raises SearchError."""
        # Whoever does not wait any more leaves a thread at work, which nobody else may disturb: hence the shield.
        found = list(_best(await asyncio.shield(self._search(expression(words)))))
        return found[:limit], len(found) > limit

    async def _search(self, wanted: str) -> list[_Row]:
        async with self._lock:
            if self._database is None:
                self._database = await asyncio.to_thread(_opened)
                self._changed.update(self._conversations())
            await self._index(self._database)
            try:
                return await asyncio.to_thread(_rows, self._database, wanted)
            except sqlite3.OperationalError as error:
                raise SearchError(f"this took longer than {MAX_SECONDS:g} s: search for more specific words") from error

    @property
    def left_out(self) -> int:
        """Conversations that were not searched, although they were there before the search."""
        return sum(context not in self._indexed and context not in self._changed for context in self._conversations())

    def _newest(self) -> set[str]:
        """Those that are to be searched: as many as there is room for."""
        newest: set[str] = set()
        size = 0
        for context, conversation in reversed(list(self._conversations().items())):
            size += conversation.bytes
            if size > MAX_INDEXED_BYTES:
                break
            newest.add(context)
        return newest

    async def _index(self, database: sqlite3.Connection) -> None:
        """All that has changed, in place of what there is no room for any more; what changes meanwhile remains
        noted."""
        newest = self._newest()
        old = (self._indexed ^ newest) | self._changed
        order = dict.fromkeys((*reversed(list(self._conversations())), *old))
        waiting = deque(context for context in order if context in old)
        while waiting:
            replaced: list[str] = []
            texts: list[_Text] = []
            size = 0
            while waiting and size < _AT_ONCE:
                context = waiting.popleft()
                self._changed.discard(context)
                replaced.append(context)
                self._indexed.discard(context)
                conversation = self._conversations().get(context)
                if conversation is not None and context in newest:
                    self._indexed.add(context)
                    size += conversation.bytes
                    texts += _texts(conversation)
            await asyncio.to_thread(_replace, database, replaced, texts)

    async def close(self) -> None:
        async with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None


def expression(words: str) -> str:
    """What SQLite looks for: texts that have all these words, or words that begin with them. Raises SearchError."""
    wanted = _WORD.findall(words)
    if not wanted:
        raise SearchError("words to look for are expected: letters or digits")
    if len(wanted) > MAX_WORDS:
        raise SearchError(f"{len(wanted)} words are too many: at most {MAX_WORDS} are looked for at once")
    return " ".join(f'"{word}"*' for word in wanted)


def _opened() -> sqlite3.Connection:
    """Raises SearchError."""
    database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    try:
        database.executescript(_TABLES)
    except sqlite3.OperationalError as error:
        database.close()
        raise SearchError(f"this Python's SQLite has no full-text search ({error})") from error
    return database


def _replace(database: sqlite3.Connection, old: list[str], texts: list[_Text]) -> None:
    """Texts of these conversations give way to those that there are now."""
    database.execute("BEGIN")
    for context in old:
        places = [row[0] for row in database.execute("SELECT id FROM places WHERE context = ?", (context,))]
        database.executemany("DELETE FROM texts WHERE rowid = ?", ((place,) for place in places))
        database.execute("DELETE FROM places WHERE context = ?", (context,))
    for context, turn, node, text in texts:
        place = database.execute(
            "INSERT INTO places (context, turn, node) VALUES (?, ?, ?)", (context, turn, node)
        ).lastrowid
        database.execute(
            "INSERT INTO texts (rowid, text) VALUES (?, ?)", (place, text.translate(_NO_MARKS))
        )
    database.execute("COMMIT")


def _rows(database: sqlite3.Connection, wanted: str) -> list[_Row]:
    """Raises sqlite3.OperationalError if it takes too long."""
    end = time.monotonic() + MAX_SECONDS
    database.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        return database.execute(_FIND, (wanted, _CONSIDERED)).fetchall()
    finally:
        database.set_progress_handler(None, 0)


def _texts(conversation: Conversation) -> Iterator[_Text]:
    of = partial(_Text, conversation.context)
    yield of(0, None, f"{conversation.context} {conversation.title}")
    for number, turn in enumerate(conversation.turns, 1):
        yield of(number, None, turn.text)
        for node, said in turn.candidates.items():
            if said.text is not None:
                yield of(number, node, said.text)


def _best(rows: list[_Row]) -> Iterator[Found]:
    """The best text of each question."""
    seen: set[tuple[str, int]] = set()
    for context, turn, node, excerpt in rows:
        if (context, turn) not in seen:
            seen.add((context, turn))
            yield Found(context, turn, node, re.split(f"[{_OPEN}{_CLOSE}]", excerpt))
