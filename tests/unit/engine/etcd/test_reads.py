"""Reads that wait for etcd."""

from __future__ import annotations

import asyncio

import pytest

from engine.etcd import reads
from engine.etcd.keys import Keys
from engine.etcd.reads import Reads
from tests.unit.engine.etcd.test_client import client_of, fake


def test_reads_that_were_given_up_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MOST", 3)

    async def main() -> None:
        waiting = Reads(client_of(fake()), Keys("test"), lambda revision: None)
        given_up = [waiting.ask() for _ in range(3)]
        assert waiting.full
        given_up[1].cancel()
        assert not waiting.full
        last = waiting.ask()
        assert waiting.full
        waiting.close()
        assert last.cancelled()

    asyncio.run(main())
