"""Does slow one-time work early, while nothing waits for it."""

from __future__ import annotations

import asyncio
import gc

from config.llm_settings import LlmSettings
from llm import registry
from llm.settings import choose

AFTER_S = 1.0
"""Delay in seconds, so that the node's start is over."""


async def warm_up(settings: LlmSettings) -> None:
    """Imports what the first request needs: at that moment all nodes of a machine would do so at once, and keystrokes
    and heartbeats would wait for it. What is in memory then stays there, and need not be searched for garbage again
    and again."""
    await asyncio.sleep(AFTER_S)
    await asyncio.to_thread(registry.preload, choose(settings).provider)
    gc.freeze()
