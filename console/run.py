"""The console: one interface for a person in a terminal, a script behind a pipe, and a program that reads JSON."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from msgspec.structs import replace

from api.base import Event, Failure, Record, Result, encode, encode_gently, result_line
from api.prompt import DroppedEvent, ExitCommand, WaitingEvent
from api.safe_text import coloured, visible
from console.basic_views import error
from console.command_pipeline import CommandPipeline
from console.command_table import CommandTable, Executor, TypedCommand
from console.hints import Hints
from console.layout import Layout
from console.lines import PipeInput, pasted
from console.outbox import Outbox, write_all
from console.pages import Pages
from console.times import beside, with_time

if TYPE_CHECKING:
    from console.terminal import Terminal

Text: TypeAlias = str | Callable[[Layout], str] | None
"""The text of an event for humans; None for no text."""

WAITING_AFTER = 2.0
"""Seconds after which an unanswered command reports what it is waiting for."""
EXIT_WITHIN = 5.0
"""Seconds that `exit` and Ctrl-D wait for commands in progress."""
READER_GONE = 1
"""Exit code when the reader of the output is gone."""
_FLUSH_WITHIN = 3.0
"""Seconds for output that its reader may not accept."""
_STATUS_EVERY = 0.25

_log = logging.getLogger(__name__)

E = TypeVar("E", bound=Executor)


class Form(StrEnum):
    TERMINAL = "terminal"
    PLAIN = "plain"
    JSON = "json"

    @staticmethod
    def choose(json_wanted: bool) -> Form:
        """JSON if wanted; else a terminal if stdin and stdout are one that can move its cursor; else plain lines."""
        if json_wanted:
            return Form.JSON
        capable = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
        return Form.TERMINAL if capable and os.isatty(0) and os.isatty(1) else Form.PLAIN


class Console:
    """Reads commands and shows results and events. Create it in the event loop that it will run in.

    `emit` and `say` may be called before and during `run`, from that event loop; they never block.
    """

    def __init__(
        self,
        form: Form,
        *,
        title: str = "",
        history_path: Path | None = None,
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
    ) -> None:
        self.form = form
        self._title = title
        self._history_path = history_path
        self._stdin = stdin
        self._stdout = stdout
        self._terminal: Terminal | None = None
        self._prompt: Callable[[], str] | None = None
        self._status_line: Callable[[], str] | None = None
        self._progress_line: Callable[[], str] = str
        self._loop = asyncio.get_running_loop()
        self._redrawing = False
        self._more = Pages()
        self._hints = Hints()
        self._dropped = 0
        self._late: set[int] = set()
        """Lines reported as still in progress: their later results must name their command."""
        self._out = Outbox(self._show)
        self._notices = Outbox(lambda text: write_all(stderr, text)) if form is Form.JSON else self._out

    @property
    def layout(self) -> Layout:
        """The current layout for text for humans."""
        colour = self.form is Form.TERMINAL and not os.environ.get("NO_COLOR")
        try:
            size = os.get_terminal_size(self._stdout)
            rows = size.lines if self.form is Form.TERMINAL else 0
            return Layout(size.columns or None, colour, rows or None)
        except OSError:
            return Layout(None, colour)

    def _rows(self) -> int:
        try:
            return os.get_terminal_size(self._stdout).lines
        except OSError:
            return 0

    def emit(self, event: Event, text: Text = None, *, about_protocol: bool = False) -> None:
        """Shows an event: as JSON, or `text` to humans. Dropped, and counted, while the reader is far behind.
        `about_protocol`: the text uses the words of the field."""
        if self._out.full:
            self._dropped += 1
            return
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._write(DroppedEvent(count), f"({count} messages dropped: output was too slow)")
        self._write(event, text, about_protocol)

    def say(self, text: str) -> None:
        """A notice for humans that is not an event: goes to stderr in the JSON form."""
        if not self._notices.full:
            self._notices.write(visible(self._wrap(text)).rstrip("\n") + "\n")

    async def run(
        self, table: CommandTable[E], executor: E, *, status_line: Callable[[], str] | None = None,
        prompt: Callable[[], str] | None = None, progress_line: Callable[[], str] = str,
    ) -> int:
        """Serves until the end of input, `exit` or Ctrl-D; returns the exit code of the process. The result of `prompt`
        appears in the prompt, after the title, and that of `progress_line` above it, unless it is empty.

        Cancel it to leave at once; output already written is still flushed, if it is accepted soon.
        """
        self._prompt = prompt
        self._status_line, self._progress_line = status_line, progress_line
        pipeline = CommandPipeline(table, executor, self, WAITING_AFTER)
        complete = partial(table.complete, executor)
        split = partial(pasted, is_question=table.is_question, is_command=table.is_command)
        serving = asyncio.ensure_future(self._serve(pipeline, complete, split))
        ends = [asyncio.ensure_future(event.wait()) for event in (self._out.gone, pipeline.failed)]
        try:
            await asyncio.wait([serving, *ends], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                return 0
            return READER_GONE
        finally:
            for waiting in (serving, *ends):
                waiting.cancel()
            await asyncio.wait([serving])
            await pipeline.close()
            await self.close()

    async def close(self) -> None:
        """Flushes the output, if it is accepted soon, and restores the terminal. `run` ends with this; only a console
        that never runs needs it."""
        outboxes = {self._out, self._notices}
        try:
            async with asyncio.timeout(_FLUSH_WITHIN):
                for outbox in outboxes:
                    await outbox.drained()
        except TimeoutError:
            _log.warning("the output cannot be written; exiting without it")
        if self._terminal is not None:
            await self._terminal.close()
        for outbox in outboxes:
            outbox.close()

    async def answer(self, typed: TypedCommand, result: Result) -> None:
        """Shows a result; waits while the reader is far behind."""
        await self._out.writable()
        if typed.large:
            text = await asyncio.to_thread(self._lay_out, typed, result)
        else:
            text = self._lay_out(typed, result)
        if self.form is Form.TERMINAL:
            text = self._more.first(text, self._rows(), self.layout)
        self._print(text)

    def waiting(self, typed: TypedCommand, reason: str) -> None:
        """Reports that a command is still in progress."""
        if self.form is Form.TERMINAL:
            self._late.add(typed.line)
        text = None if typed.shows_progress else f"{typed}: still trying: {reason}"
        self.emit(WaitingEvent(typed.name, typed.line, reason), text)

    async def _serve(
        self, pipeline: CommandPipeline[E], complete: Callable[[list[str]], Iterable[str]],
        split: Callable[[str], Iterable[str]],
    ) -> None:
        source: Terminal | PipeInput
        if self.form is Form.TERMINAL:
            from console.terminal import Terminal  # slow to import, and not needed for pipes

            source = self._terminal = Terminal(
                lambda: f"{self._title}{self._prompt() if self._prompt else ''}> ", self._history_path, complete,
                self._stdout, split,
            )
        else:
            source = PipeInput(self._stdin)
        refreshing = asyncio.ensure_future(self._refresh())
        limit = EXIT_WITHIN if self.form is Form.TERMINAL else None
        try:
            async for line in source.lines():
                await self._out.writable()
                if (page := self._more.next(line.text, self._rows(), self.layout)) is not None:
                    self._out.write(page)
                    continue
                if not await pipeline.take(line):
                    limit = EXIT_WITHIN
                    break
            source.stop()
            await self._finish(pipeline, limit)
        finally:
            refreshing.cancel()
            source.stop()

    async def _finish(self, pipeline: CommandPipeline[E], limit: float | None) -> None:
        """Answers pending commands. The outer timeout is for a reader that accepts nothing."""
        try:
            async with asyncio.timeout(None if limit is None else limit + _FLUSH_WITHIN):
                await pipeline.finish(limit)
                await self._out.drained()
        except TimeoutError:
            _log.warning("the output cannot be written; exiting without it")

    async def _refresh(self) -> None:
        """Numbers in the lines at the prompt change all the time, hence at an interval."""
        while self._terminal is not None:
            self._redraw()
            await asyncio.sleep(_STATUS_EVERY)

    def _redraw(self) -> None:
        """What stands above and below the prompt."""
        self._redrawing = False
        if self._terminal is not None and self._status_line is not None:
            self._terminal.show_status(self._status_line())
            self._terminal.show_progress(self._progress_line())

    def _print(self, text: str) -> None:
        """For humans. The lines at the prompt are redrawn, once for all that is printed in one turn of the event loop,
        so that they do not contradict it."""
        self._out.write(text)
        if self._terminal is not None and not self._redrawing:
            self._redrawing = True
            self._loop.call_soon(self._redraw)

    def _write(self, event: Event, text: Text, about_protocol: bool = False) -> None:
        if self.form is Form.JSON:
            self._out.write(encode(event).decode() + "\n")
        elif text is not None:
            timed = self.form is Form.TERMINAL
            layout = beside(self.layout) if timed else self.layout
            shown = layout.text(text) if timed and isinstance(text, str) else text
            shown = shown if isinstance(shown, str) else self._laid_out(shown, event, layout)
            if about_protocol:
                shown = self._hinted(shown, layout)
            self._print(self._for_humans(with_time(shown, self.layout) if timed else shown))

    def _wrap(self, text: str) -> str:
        """Wraps text: a terminal itself would break lines in the middle of words."""
        return self.layout.text(text) if self.form is Form.TERMINAL else text

    def _lay_out(self, typed: TypedCommand, result: Result) -> str:
        """A result as written. Large ones are encoded in small steps, in a thread: see `answer`."""
        if self.form is Form.JSON:
            encoded = encode_gently(result) if typed.large else encode(result)
            return result_line(result.replies_to or typed.name, typed.line, encoded).decode()
        return self._for_humans(self._for_reading(typed, result))

    def _for_reading(self, typed: TypedCommand, result: Result) -> str:
        if isinstance(typed.command, ExitCommand):
            return ""
        late = typed.line in self._late
        self._late.discard(typed.line)
        if isinstance(result, Failure):
            shown = error(replace(result, error=f"{typed}: {result.error}") if late else result, self.layout)
            return shown if self.form is Form.TERMINAL else f"line {typed.line}: {shown}"
        shown = self._laid_out(partial(typed.view, result), result)
        return self._hinted(shown) if typed.about_protocol else shown

    def _hinted(self, text: str, layout: Layout | None = None) -> str:
        """With where new words are explained, if a person reads along."""
        layout = layout or self.layout
        hint = self._hints.first(text) if self.form is Form.TERMINAL else None
        return text if hint is None else f"{text}\n{layout.dim(layout.text(hint))}"

    def _laid_out(self, lay_out: Callable[[Layout], str], record: Record, layout: Layout | None = None) -> str:
        layout = layout or self.layout
        try:
            return lay_out(layout)
        except Exception:  # noqa: BLE001 - a rendering bug must not stop a running node
            _log.exception("a result could not be rendered")
            return layout.text(encode(record).decode())

    def _for_humans(self, text: str) -> str:
        """The last filter before a terminal: makes visible whatever a renderer missed."""
        safe = coloured(text) if self.form is Form.TERMINAL else visible(text)
        return safe.rstrip("\n") + "\n" if safe.strip("\n") else ""

    def _show(self, text: str) -> None:
        """Writes text; runs in the outbox's thread and may block there."""
        terminal = self._terminal
        if terminal is None:
            write_all(self._stdout, text)
        else:
            terminal.print(text)
