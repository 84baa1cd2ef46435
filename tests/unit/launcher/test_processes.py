from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

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
