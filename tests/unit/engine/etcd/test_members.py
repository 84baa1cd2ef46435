"""Changes of the members, as several nodes ask for them at once."""

from __future__ import annotations

import asyncio
import base64
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from engine.etcd.client import EtcdClient
from engine.etcd.keys import Keys
from engine.etcd.members import FORMAT, Members, Record
from engine.etcd.wire import KeyValue

KEYS = Keys("/p")


class OneKey:
    """etcd, as far as a single key goes that is compared and set."""

    def __init__(self, record: Record) -> None:
        self._value = msgspec.json.encode(record)
        self._revision = 5

    async def txn(self, work: float, body: bytes) -> Any:
        await asyncio.sleep(0)
        asked = msgspec.json.decode(body)
        if not asked.get("compare"):
            held = KeyValue(key=KEYS.members, value=self._value, mod_revision=self._revision)
            return SimpleNamespace(value=lambda: held)
        succeeded = int(asked["compare"][0]["mod_revision"]) == self._revision
        if succeeded:
            self._value = base64.b64decode(asked["success"][0]["request_put"]["value"])
            self._revision += 1
        return SimpleNamespace(succeeded=succeeded)

    @property
    def members(self) -> set[int]:
        return {int(pid) for pid in msgspec.json.decode(self._value)["members"]}


@pytest.mark.parametrize("changes", [[(1, 2), (2, 1)], [(1, 1), (2, 2)], [(1, 2), (2, 2)]])
def test_the_last_member_stays_whatever_is_asked_for_at_once(changes: list[tuple[int, int]]) -> None:
    etcd = OneKey(Record(FORMAT, "demo", "a1", 1, {1: 2, 2: 2}))

    async def main() -> None:
        await asyncio.gather(*(
            Members(cast(EtcdClient, etcd), KEYS, asker, "demo", "a1", [1, 2]).change("remove", removed)
            for asker, removed in changes
        ))

    asyncio.run(main())
    assert len(etcd.members) == 1
