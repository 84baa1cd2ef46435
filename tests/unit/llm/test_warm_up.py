"""What the first question needs is imported before it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import gc, sys
from llm import registry
assert "httpx" not in sys.modules, "not at the start"
registry.preload({provider!r})
print(*sorted(name for name in ("anyio._backends._asyncio", "google.genai", "google.generativeai", "httpx")
              if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("provider", "imported"),
    [("fake", ""), ("openai", "anyio._backends._asyncio httpx"), ("local", "anyio._backends._asyncio httpx")],
)
def test_only_what_the_provider_needs_is_imported(provider: str, imported: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(provider=provider)], capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == (imported, "")


def test_a_start_imports_nothing_that_is_slow_and_may_never_be_needed() -> None:
    slow = ("rich", "prompt_toolkit", "httpx", "anyio", "google.generativeai", "xllamacpp", "markdown_it")
    script = f"import node, sys; print(*(name for name in {slow!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
