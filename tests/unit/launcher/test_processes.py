from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from launcher.processes import Processes, ProcessEvents


def test_who_ends_while_it_is_resumed_keeps_its_exit_code(tmp_path: Path) -> None:
    """A node that leaves by itself ends about when its input does."""
    async def main() -> list[int]:
        processes = Processes(tmp_path, cast(ProcessEvents, None))
        codes = []
        for _ in range(20):
            child = processes._processes["1"] = await asyncio.create_subprocess_exec("true")
            while child.returncode is None:
                processes.resume("1")
                await asyncio.sleep(0)
            codes.append(child.returncode)
        await processes.stop()
        return codes

    assert asyncio.run(main()) == [0] * 20


def test_a_node_that_is_asked_for_while_it_is_being_started_is_started_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    may_start = asyncio.Event()

    async def start(self: Processes, name: str, wanted: bool) -> None:
        started.append(name)
        await may_start.wait()

    async def main() -> None:
        processes = Processes(tmp_path, cast(ProcessEvents, None))
        both = [asyncio.create_task(processes.start("2", wanted=wanted)) for wanted in (True, False)]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=5)  # one has nothing to do
        may_start.set()
        await asyncio.gather(*both)
        await processes.start("2")
        await processes.stop()

    monkeypatch.setattr(Processes, "_start", start)
    asyncio.run(main())
    assert started == ["2", "2"], "once while it was being started, and again as it does not run"
