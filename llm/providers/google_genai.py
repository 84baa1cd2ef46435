"""Google's Gemini, through the SDK google-genai, the successor of google-generativeai.

The SDK prepares the requests; variables of the environment that would redirect it are overruled. What
llm/gemini_client.py does with them is its own affair.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import ssl
import warnings
from pathlib import Path
from typing import Any

from config.llm_settings import LlmSettings
from llm.accommodation import Body
from llm.chat_protocol import CLIENT_IMPORTS
from llm.gemini_requests import ingredients, kept, unprepared
from llm.gemini_responses import CONTEXT_TOKENS, GOOGLE_HOST, KEY_VARIABLES
from llm.post import Post
from llm.provider import Progress, Prompt, ProviderError, Reply
from llm.registry import register
from llm.workers import Workers

_SDK = "google.genai"
_GOOGLE = f"https://{GOOGLE_HOST}"


class GoogleGenaiProvider:
    """Needs a key, from the settings or the environment. `base_url` replaces Google's endpoint."""

    name = "google-genai"
    parallel = 4

    def __init__(self, settings: LlmSettings) -> None:
        from llm.gemini_client import GeminiClient  # not above: see CLIENT_IMPORTS

        self._client = GeminiClient(settings, has_seeds=True)
        if not is_installed():
            raise ProviderError(
                "the package google-genai is not installed: pip install -r requirements-google-genai.txt"
            )
        self.model = self._client.model
        self._base_url = (settings.base_url or _GOOGLE).rstrip("/")
        self._workers = Workers("google-genai")
        self._preparing = asyncio.Lock()
        self._sdk: Any = None
        self._requests: list[Any] = []
        """What the SDK would have sent."""

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        """Streams if progress is requested."""
        return await self._client.ask(prompt, on_progress, self._prepared)

    async def close(self) -> None:
        await self._client.close()

    async def _prepared(self, body: Body) -> Post:
        async with self._preparing:
            try:
                if self._sdk is None:
                    self._sdk = await self._workers.run(self._build)
                models, self._requests = self._sdk.aio.models, []
                if "stream" in body:
                    async for _ in await models.generate_content_stream(**self._request(body)):
                        pass
                else:
                    await models.generate_content(**self._request(body))
            except ProviderError:
                raise
            except Exception as error:  # noqa: BLE001 - the SDK documents no list of what it raises
                raise unprepared(error) from None  # not chained: a printed traceback must not show the key
            request = self._requests[0]
        return kept(str(request.url), request.content, request.headers)

    def _request(self, body: Body) -> dict[str, Any]:
        config: dict[str, Any] = {
            "automatic_function_calling": {"disable": True},
            "automatic_continuation": False,  # it would send further requests by itself
        }
        system, contents, options = ingredients(body)
        config |= options
        if system is not None:
            config["system_instruction"] = system
        return {"model": self.model, "contents": contents, "config": config}

    def _build(self) -> Any:
        """Blocks: the import takes a second."""
        # It warns about every unknown word and repeats its text, which must not appear on a node's screen.
        warnings.filterwarnings("ignore", module=r"google\.genai\b")
        sdk = importlib.import_module(_SDK)
        import httpx  # not above: slow to import

        def keep(request: httpx.Request) -> httpx.Response:
            self._requests.append(request)
            return httpx.Response(200, json={})

        # The SDK never connects: it need not load the proxies and certificates that the environment names.
        nothing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return sdk.Client(
            enterprise=False,
            api_key=self._client.key,
            http_options={
                "base_url": self._base_url, "api_version": "v1beta", "retry_options": {"attempts": 1},
                "httpx_async_client": httpx.AsyncClient(transport=httpx.MockTransport(keep), trust_env=False),
                "client_args": {"verify": nothing, "trust_env": False},
                "async_client_args": {"verify": nothing, "ssl": nothing},
                # Not used, and cheaper than the one that the SDK makes otherwise.
                "httpx_client": httpx.Client(transport=httpx.MockTransport(keep), trust_env=False),
            },
        )


def is_installed() -> bool:
    try:
        return importlib.util.find_spec(_SDK) is not None
    except ModuleNotFoundError:
        return False


@register("google-genai", key_variables=KEY_VARIABLES, context_tokens=CONTEXT_TOKENS, imports=(_SDK, *CLIENT_IMPORTS))
def build(settings: LlmSettings, node: int, data_dir: Path) -> GoogleGenaiProvider:
    return GoogleGenaiProvider(settings)
