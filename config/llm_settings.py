"""The `llm` sections of the configuration: their keys, and one node's settings laid over the common ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

_PROVIDER_BOUND = ("model", "base_url", "api_key", "api_key_env", "delay_s", "fail", "context_tokens")
"""Settings that do not apply to another provider."""
_HOST_BOUND = ("api_key", "api_key_env")
"""Settings that do not apply to another host."""


class LlmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each key is optional. None means the provider's own default."""

    provider: str | None = None
    """The name of a registered provider (llm/registry.py); None: chosen automatically, see llm/settings.py."""
    model: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    """For `local`: the path of a GGUF file."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """The limit for one answer, including all retries."""
    system_prompt: str | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32 - 2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    context_tokens: Annotated[int, Meta(ge=64, le=100_000_000)] | None = None
    """The model's context, prompt and answer together; older turns of a conversation that do not fit are left out."""
    max_concurrent: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """The maximum number of concurrent requests."""
    max_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Requests within any minute, retries included."""
    base_url: str | None = None
    """A server other than the provider's default."""
    api_key: str | None = None
    """None means from the environment."""
    api_key_env: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = None
    """The environment variable that holds the key for `base_url`; the usual ones are for the provider's own host."""
    delay_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """For `fake`: how long an answer takes."""
    fail: str | None = None
    """For `fake`: the reason with which every answer fails."""

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        if self.api_key is not None:
            shown["api_key"] = "***"
        if self.base_url is not None:
            shown["base_url"] = "***"  # it may hold a password
        return f"LlmSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def overlay(common: LlmSettings, own: Mapping[str, object]) -> LlmSettings:
    """One node's settings over the common ones: `own` holds the keys that this node sets, as in its part of the file.

    A node with another provider does not inherit the common model, key or address: they belong to a different provider.
    Nor does a node with another address inherit the key: it is meant for one host.
    Raises msgspec.ValidationError for an unknown key or an impossible value.
    """
    inherited = msgspec.structs.asdict(common)
    if "provider" in own and own["provider"] != common.provider:
        inherited = {name: value for name, value in inherited.items() if name not in _PROVIDER_BOUND}
    if "base_url" in own and own["base_url"] != common.base_url:
        inherited = {name: value for name, value in inherited.items() if name not in _HOST_BOUND}
    return msgspec.convert({**inherited, **own}, LlmSettings)
