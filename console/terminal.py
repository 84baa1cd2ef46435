"""The prompt in a terminal.

It runs in a thread with its own event loop: a terminal may stop accepting output for any length of time (a paused
pane, a stalled ssh), and a write to it then blocks. That must not block anything but the terminal.
"""

from __future__ import annotations

import asyncio
import logging
import select
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import ANSI, AnyFormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress, KeyProcessor
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import create_output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import DynamicStyle, Style

from api.safe_text import coloured, one_line, visible
from console.lines import Line, typed_line
from console.outbox import write_all

_HISTORY_LINE = 16 * 1024
"""Characters; longer lines are not kept in the history."""
_PATIENCE = 0.5
"""Seconds."""

_PANEL = Style.from_dict({"bottom-toolbar": "noreverse"})
"""Colours set a status line apart from the output above it; a panel has a head for that."""

LEAVE = "Leave? Press Ctrl-D again or y to leave, any other key to stay"

_log = logging.getLogger(__name__)


class Terminal:
    """Lines typed at a prompt, and text printed above it.

    `prompt` gives the prompt whenever it is drawn, in the terminal's thread. `complete` gets the words before the
    cursor on the line and returns what the next one may be; it is called in the event loop that the terminal was made
    in. Raises OSError if the terminal cannot be used.
    """

    def __init__(
        self, prompt: Callable[[], str], history: Path | None, complete: Callable[[list[str]], Iterable[str]],
        stdout: int = 1, split: Callable[[str], Iterable[str]] = lambda text: [text],
    ) -> None:
        """`split` gives the lines that were meant by what was pasted at once."""
        self._prompt = prompt
        self._split = split
        self._history = history
        self._complete = complete
        self._stdout = stdout
        self._status = ""
        self._progress = ""
        self._leaving = False
        """The question whether to exit is on the screen."""
        self._just_asked = False
        self._main = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.SelectorEventLoop()
        self._ended = asyncio.Event()
        self._leave = asyncio.Event()
        self._prompting: asyncio.Task[None] | None = None
        self._session: PromptSession[str] | None = None
        self._thread = threading.Thread(target=self._run, name="console-terminal", daemon=True)
        self._thread.start()
        with suppress(ValueError, RuntimeError):  # not in the main thread: then the size is only polled
            self._main.add_signal_handler(signal.SIGWINCH, self._call, self._resized)

    async def lines(self) -> AsyncIterator[Line]:
        """All typed lines, until Ctrl-D or `stop`."""
        number = 0
        while (text := await self._lines.get()) is not None:
            for line in self._split(text):
                number += 1
                yield typed_line(number, line)

    def print(self, text: str) -> None:
        """Prints above the prompt; blocks. Only for other threads. Raises OSError when the terminal is gone."""
        printing = self._print(text)
        try:
            shown = asyncio.run_coroutine_threadsafe(printing, self._loop)
        except RuntimeError as error:
            printing.close()
            raise OSError("the terminal is gone") from error
        while self._thread.is_alive():
            try:
                return shown.result(_PATIENCE)
            except TimeoutError:
                continue
            except CancelledError:
                break
        raise OSError("the terminal is gone")

    def show_status(self, text: str) -> None:
        """Changes the text under the prompt: a line, or a panel of several lines that may have colours."""
        text = coloured(text) if "\n" in text else one_line(text, 400)
        if text != self._status:
            self._status = text
            self._call(self._redraw)

    def show_progress(self, text: str) -> None:
        """Changes the line above the prompt; without a text there is none."""
        if text != self._progress:
            self._progress = text
            self._call(self._redraw)

    def stop(self) -> None:
        """Removes the prompt; `print` keeps working."""
        self._call(self._stop_prompting)

    async def close(self) -> None:
        """Restores the terminal. Waits briefly if the terminal is stalled."""
        self.stop()
        self._call(self._leave.set)
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._ended.wait()
        except TimeoutError:
            _log.warning("the terminal does not accept output; exiting without it")

    def _call(self, function: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    # What follows runs in the terminal's thread.

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._stay())
        except OSError as error:
            _log.warning("the terminal is gone: %s", error)
        finally:
            self._tell(self._ended.set)

    async def _stay(self) -> None:
        self._prompting = asyncio.create_task(self._prompt_for_lines())
        try:
            await asyncio.wait([self._prompting])
        finally:
            self._tell(self._lines.put_nowait, None)
        if not self._prompting.cancelled() and (error := self._prompting.exception()) is not None:
            raise error
        await self._leave.wait()

    async def _prompt_for_lines(self) -> None:
        # The terminal stays in raw mode between lines: otherwise it would echo typed text and turn
        # Ctrl-C into a signal.
        terminal = _Input(sys.stdin)
        with terminal.raw_mode():
            self._session = session = self._make_session(terminal)
            with patch_stdout():
                while True:
                    try:
                        text = await session.prompt_async(set_exception_handler=False)
                    except EOFError:
                        return
                    self._tell(self._lines.put_nowait, text)

    def _make_session(self, terminal: Vt100Input) -> PromptSession[str]:
        bindings = KeyBindings()
        # Colour sequences pasted raw would be taken for mouse events, which are not used here.
        bindings.add(Keys.Vt100MouseEvent, eager=True)(lambda event: None)

        @bindings.add("c-c", filter=~is_searching)
        def clear(event: KeyPressEvent) -> None:
            event.current_buffer.reset()

        self._bind_leaving(bindings)
        session: PromptSession[str] = PromptSession(
            self._message,
            input=terminal,
            output=create_output(sys.stdout),
            history=_open_history(self._history),
            completer=_Words(self._completions),
            complete_while_typing=False,
            reserve_space_for_menu=5,
            bottom_toolbar=self._toolbar,
            style=DynamicStyle(lambda: _PANEL if "\n" in self._status and not self._leaving else None),
            key_bindings=bindings,
        )
        session.app.key_processor.after_key_press.add_handler(self._after_key)
        return session

    def _bind_leaving(self, bindings: KeyBindings) -> None:
        """Ctrl-D on an empty line asks for confirmation; Ctrl-D again, or y, exits."""
        empty = Condition(lambda: not get_app().current_buffer.text)
        asked = Condition(lambda: self._leaving)

        @bindings.add("c-d", filter=empty & ~asked)
        def ask(event: KeyPressEvent) -> None:
            self._leaving = self._just_asked = True

        @bindings.add("c-d", filter=empty & asked)
        @bindings.add("y", filter=empty & asked)
        def leave(event: KeyPressEvent) -> None:
            event.app.exit(exception=EOFError(), style="class:exiting")

    def _after_key(self, processor: KeyProcessor) -> None:
        """Any key but the first Ctrl-D dismisses the question and has its usual effect."""
        self._leaving, self._just_asked = self._just_asked, False

    def _message(self) -> str:
        """What stays of a typed line is the prompt: the progress goes on above the next one."""
        progress = "" if get_app().is_done else one_line(self._progress, 400)
        return f"{progress}\n{self._prompt()}" if progress else self._prompt()

    def _toolbar(self) -> AnyFormattedText:
        shown = LEAVE if self._leaving else self._status
        if "\n" in shown:
            return ANSI(shown)
        return [("", shown)] if shown else None

    async def _print(self, text: str) -> None:
        session = self._session
        if session is None:
            write_all(self._stdout, text)
            return

        def show() -> None:
            session.output.write_raw(text)
            session.output.flush()

        await run_in_terminal(show)

    def _completions(self, words: list[str]) -> Iterable[str]:
        async def ask() -> list[str]:
            return sorted(self._complete(words))

        try:
            return asyncio.run_coroutine_threadsafe(ask(), self._main).result(_PATIENCE)
        except (TimeoutError, RuntimeError):  # the process is busy or exiting: no completions
            return []

    def _resized(self) -> None:
        """The window was resized. Outside the main thread the library itself polls for that every half second,
        and not at all in the first half second of a line."""
        if self._session is not None and self._session.app.is_running:
            self._session.app._on_resize()

    def _redraw(self) -> None:
        if self._session is not None and self._session.app.is_running:
            self._session.app.invalidate()

    def _stop_prompting(self) -> None:
        if self._prompting is not None:
            self._prompting.cancel()

    def _tell(self, function: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the main event loop has ended
            self._main.call_soon_threadsafe(function, *args)


class _Input(Vt100Input):
    """Key input from a terminal that stays in raw mode during output; detects a hang-up."""

    def cooked_mode(self) -> AbstractContextManager[None]:
        return nullcontext()

    def read_keys(self) -> list[KeyPress]:
        keys = super().read_keys()
        if not keys and self._hung_up():
            self.stdin_reader.closed = True
        return keys

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.fileno(), 0)
        return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


class _Words(Completer):
    """Completes the word before the cursor."""

    def __init__(self, candidates: Callable[[list[str]], Iterable[str]]) -> None:
        self._candidates = candidates

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        words = document.text_before_cursor.split()
        prefix = words.pop() if words and not document.text_before_cursor[-1].isspace() else ""
        for word in self._candidates(words):
            if word.lower().startswith(prefix.lower()):
                yield Completion(word, start_position=-len(prefix), display=visible(word))


class _History(FileHistory):
    """Stores lines of ordinary length; a full disk only affects the history."""

    def store_string(self, string: str) -> None:
        if len(string) > _HISTORY_LINE:
            return
        try:
            super().store_string(string)
        except OSError as error:
            _log.warning("the prompt history cannot be written: %s", error)


def _open_history(path: Path | None) -> History:
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.open("rb").close()
    except OSError as error:
        _log.warning("the prompt history cannot be used: %s", error)
        return InMemoryHistory()
    return _History(path)
