"""Faults of disks that cost a node its vote, until the members have decided to count its disk again: a disk is lost, an
older copy is put back, a byte changes, or the members replace the node's disk.

There must never be too few left to decide that. So there is one such fault at a time, and none begins before all nodes
vote with the disks that they have.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.cluster.fleet import Fleet, Member

LOST = "lost disks"
OLDER = "older disk"
CHANGED = "changed byte"
REPLACED = "replaced member"

VOTES_S = 20.0
"""How long to wait until all nodes vote."""
DIES_S = 15.0
REMEMBERED_S = 0.6
"""The others know of a node's last vote from its next heartbeat; a dozen of them come in this time."""
DOUBTS_S = 1.0
"""A node that hears a majority for so long knows whether its disk is an older one."""
ANSWER_S = 40.0
HEADER_BYTES = 100
"""Of a file. Where it starts, it may be taken for that of another program, which nobody may touch."""

SUFFIXES = (".db", ".db-wal", ".db-shm")

Claim = Callable[[Member], Awaitable[bool]]
"""Waits until the node is up and the victim of no other fault, and then makes it one; False if that takes too long."""
GiveBack = Callable[[Member], Awaitable[None]]


class DiskFaults:
    def __init__(self, fleet: Fleet, claim: Claim, give_back: GiveBack) -> None:
        self._fleet = fleet
        self._claim = claim
        self._give_back = give_back
        self._one_at_a_time = asyncio.Lock()
        self._copies = 0

    async def inject(self, kind: str, members: Sequence[Member], seconds: float) -> bool:
        """False if it did not happen."""
        async with self._one_at_a_time:
            if not await self._all_vote():
                return False
            claimed = [member for member in members if await self._claim(member)]
            try:
                if not claimed or (kind == REPLACED and self._fleet.leader is None):
                    return False
                return await self._hit(kind, claimed, seconds)
            finally:
                for member in claimed:
                    if not member.running:
                        await member.start()
                    await self._give_back(member)

    async def _hit(self, kind: str, members: Sequence[Member], seconds: float) -> bool:
        one = members[0]
        if kind == LOST:
            for member in members:
                await self._stop(member)
                member.lose_disk()
            await asyncio.sleep(seconds)
        elif kind == CHANGED:
            await self._stop(one)
            change_byte(one.data / f"node-{one.pid}.db", Random(seconds))
        elif kind == REPLACED:
            await self._stop(one)
            return await self._replace(one)
        else:
            return await self._put_back(one, seconds)
        return True

    async def _put_back(self, member: Member, seconds: float) -> bool:
        """A copy of its disk that is some seconds old. Before it goes back in time, nothing reaches it, and the others
        hear of the last that it has vouched for: what nobody remembers cannot be noticed."""
        self._copies += 1
        copy = self._fleet.folder / f"copy-{self._copies}"
        copy.mkdir()
        await self._stop(member)
        for path in disk(member):
            shutil.copy(path, copy)
        await member.start()
        await asyncio.sleep(seconds)
        prompt = self._fleet.network.prompt
        others = [other for other in self._fleet.members if other != member.pid]
        if prompt is None or None in await asyncio.gather(*(
            prompt.say(f"failLink {other} {member.pid} --oneway --for {2 * REMEMBERED_S}s") for other in others
        )):
            return False
        await asyncio.sleep(REMEMBERED_S)
        await self._stop(member)
        member.lose_disk()
        for path in copy.iterdir():
            shutil.copy(path, member.data)
        await member.start()
        await self._until(lambda seen: len(seen.get("links", ())) > len(others) // 2, member, DOUBTS_S)
        return True

    async def _replace(self, member: Member) -> bool:
        """The others decide that its disk does not count; it comes back with the same one."""
        leader = self._fleet.leader
        asked = next(other for other in (leader, *self._fleet.members) if other not in (None, member.pid))
        prompt = self._fleet.members[asked].prompt if asked is not None else None
        if prompt is None:
            return False
        asking = prompt.say(f"members replace {member.pid}")
        await asyncio.wait([asking], timeout=ANSWER_S)
        answer = asking.result() if asking.done() else None
        return answer is not None and bool(answer.said["ok"])

    async def _stop(self, member: Member) -> None:
        member.kill()
        await member.gone(DIES_S)

    async def _all_vote(self) -> bool:
        """Whether all nodes vote, and do so still when they know all that the others know."""
        try:
            seen = await self._fleet.all_show(_vote, VOTES_S)
            known = max(status["decided"] for status in seen)
            await self._fleet.all_show(
                lambda seen: _vote(seen) and all(status["decided"] >= known for status in seen), VOTES_S)
        except TimeoutError:
            return False
        return True

    async def _until(self, condition: Callable[[dict[str, Any]], bool], member: Member, lasts: float) -> None:
        """Until it has held for so long; if it never does, nothing follows from it."""
        clock = asyncio.get_running_loop().time
        since, deadline = clock(), clock() + VOTES_S
        while clock() - since < lasts and clock() < deadline:
            status = await member.status(VOTES_S)
            if status is None or not condition(status):
                since = clock()
            await asyncio.sleep(0.1)


def _vote(seen: Sequence[dict[str, Any]]) -> bool:
    return all(status["standing"] == "voter" and status["leader"] for status in seen)


def disk(member: Member) -> list[Path]:
    """The files of its disk."""
    return [path for path in member.data.glob(f"node-{member.pid}.db*") if path.suffix in SUFFIXES]


def change_byte(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    if len(content) > HEADER_BYTES:
        content[random.randrange(HEADER_BYTES, len(content))] ^= random.randint(1, 255)
        path.write_bytes(content)
