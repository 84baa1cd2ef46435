"""Google's Gemini, through the SDK google-generativeai.

The SDK prepares the requests, in a worker thread: it takes a third of a second to import. What llm/gemini_client.py
does with them is its own affair.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import threading
import warnings
from pathlib import Path
from typing import Any

from config.llm_settings import LlmSettings
from llm.accommodation import Body
from llm.chat_protocol import CLIENT_IMPORTS
from llm.gemini_requests import ingredients, kept, unprepared
from llm.gemini_responses import CONTEXT_TOKENS, KEY_VARIABLES
from llm.post import Post
from llm.provider import Progress, Prompt, ProviderError, Reply
from llm.registry import register
from llm.workers import Workers

_SDK = "google.generativeai"


class GeminiProvider:
    """Needs a key, from the settings or the environment. `base_url` replaces Google's endpoint."""

    name = "gemini"
    parallel = 4

    def __init__(self, settings: LlmSettings) -> None:
        from llm.gemini_client import GeminiClient  # not above: see CLIENT_IMPORTS

        self._client = GeminiClient(settings, has_seeds=False)
        if not _is_installed():
            raise ProviderError("the package google-generativeai is not installed")
        self.model = self._client.model
        self._endpoint = None if settings.base_url is None else settings.base_url.rstrip("/")
        self._workers = Workers("gemini")

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        """Streams if progress is requested. The SDK does not support seeds."""
        return await self._client.ask(
            prompt, on_progress, lambda body: self._workers.run(lambda: self._prepared(body))
        )

    async def close(self) -> None:
        await self._client.close()

    def _prepared(self, body: Body) -> Post:
        """Blocks; runs in a worker thread."""
        system, contents, options = ingredients(body)
        with _preparing:
            sdk = _imported()
            try:
                transport = _configured(sdk, self._client.key, self._endpoint)
                model = sdk.GenerativeModel(self.model, generation_config=options, system_instruction=system)
                client = importlib.import_module(f"{_SDK}.client").get_default_generative_client()
                request = model._prepare_request(contents=contents, tools=None, tool_config=None)
                if "stream" in body:
                    client.stream_generate_content(request, retry=None)
                else:
                    client.generate_content(request, retry=None)
            except Exception as error:  # noqa: BLE001 - the SDK documents no list of what it raises
                raise unprepared(error) from None  # not chained: a printed traceback must not show the key
            return transport.taken()


class _Transport:
    """In place of the one that the SDK's session has: keeps a request instead of sending it."""

    def __init__(self) -> None:
        self._request: Any = None

    def send(self, request: Any, **_: Any) -> Any:
        self._request = request
        response = importlib.import_module("requests").Response()
        response.url, response.request = request.url, request
        response.status_code, response.raw = 200, io.BytesIO(b"{}")
        return response

    def close(self) -> None:
        self._request = None

    def taken(self) -> Post:
        request, self._request = self._request, None
        return kept(request.url, request.body, request.headers)


_preparing = threading.Lock()
_configuration: tuple[str, str | None] | None = None
_transport = _Transport()


def _imported() -> Any:
    """Waits for whoever else is importing it: it is in sys.modules before it is complete."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # users need not know that the SDK has a successor
        return importlib.import_module(_SDK)


def _configured(sdk: Any, key: str, endpoint: str | None) -> _Transport:
    """The SDK keeps its key and address in global variables: a process can have only one of each at a time."""
    global _configuration
    if _configuration != (key, endpoint):
        options = None if endpoint is None else {"api_endpoint": endpoint}
        sdk.configure(api_key=key, transport="rest", client_options=options)
        client = importlib.import_module(f"{_SDK}.client").get_default_generative_client()
        for scheme in ("https://", "http://"):
            client.transport._session.mount(scheme, _transport)
        _configuration = key, endpoint
    return _transport


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(_SDK) is not None
    except ModuleNotFoundError:
        return False


@register("gemini", key_variables=KEY_VARIABLES, context_tokens=CONTEXT_TOKENS, imports=(_SDK, *CLIENT_IMPORTS))
def build(settings: LlmSettings, node: int, data_dir: Path) -> GeminiProvider:
    return GeminiProvider(settings)
