"""Injects a plan's faults into a fleet, and removes them in the end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence

from tests.cluster.disk_faults import CHANGED, LOST, OLDER, REPLACED, DiskFaults
from tests.cluster.fault_plan import LEADER, Fault
from tests.cluster.fleet import Child, Fleet, Member
from tests.cluster.full_disk import FrozenFiles, FullDisk, SmallDisk

NOTICED_S = 15.0
"""A full disk is noticed at the next write that needs space; there may be none for a while."""

FREE_S = 6.0
"""How long to wait for a victim that is down."""

_CLEAR_WORDS = ("the disk is full", "Free some space, then start this node again")


class Nemesis:
    """Several faults may be active at once; `small` is the one disk that can be filled, `its_node` its node."""

    def __init__(self, fleet: Fleet, small: SmallDisk | None, its_node: int) -> None:
        self.injected: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        """Faults whose victims, or whose operator, were already down."""
        self.faults: list[tuple[float, float, Fault]] = []
        """Those that were injected: begin and end (monotonic times)."""
        self._fleet = fleet
        self._small = small
        self._its_node = its_node
        self._freed = asyncio.Condition()
        self._taken: set[Child] = set()
        """Nodes that are down, or about to be, and will be restarted."""
        self._paused: set[Member] = set()
        self._disks = DiskFaults(fleet, self._claim, self._release)

    async def run(self, plan: Sequence[Fault]) -> None:
        """Returns when the last fault is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as faults:
            for fault in plan:
                await asyncio.sleep(began + fault.at - time.monotonic())
                faults.create_task(self._inject(fault))

    async def stop(self) -> None:
        """Removes all faults: everything runs, all links work."""
        for member in self._paused:
            member.signal(signal.SIGCONT)
        for child in (self._fleet.network, *self._fleet.members.values()):
            if not child.running:
                await child.start()
        assert self._fleet.network.prompt is not None
        answer = await self._fleet.network.prompt.say("reset")
        if answer is None or not answer.said["ok"]:
            self._fleet.problems.append(f"the network did not remove its faults: {answer}")

    async def _inject(self, fault: Fault) -> None:
        members = self._victims(fault)
        began = time.monotonic()
        match fault.kind:
            case "kill one" | "kill several" | "kill all":
                done = await self._kill(members, fault.seconds)
            case "pause":
                done = await self._pause(members, fault.seconds)
            case "kill network":
                done = await self._kill([self._fleet.network], fault.seconds)
            case "full disk":
                done = await self._fill(self._fleet.members[self._its_node], self._small, fault.seconds)
            case "frozen files":
                done = bool(members) and await self._fill(members[0], FrozenFiles(), fault.seconds)
            case kind if kind in (LOST, OLDER, CHANGED, REPLACED):
                done = await self._disks.inject(kind, members, fault.seconds)
            case _:
                done = await self._other(fault)
        (self.injected if done else self.left_out)[fault.kind] += 1
        if done:
            self.faults.append((began, time.monotonic(), fault))

    def _victims(self, fault: Fault) -> list[Member]:
        numbers = {self._fleet.leader if node == LEADER else node for node in fault.nodes}
        return [self._fleet.members[number] for number in numbers if number is not None]

    async def _kill(self, children: Sequence[Child], seconds: float) -> bool:
        victims = [child for child in children if child.running and child not in self._taken]
        if not victims and len(children) == 1 and await self._free(children[0]):
            victims = list(children)
        self._taken.update(victims)
        for child in victims:
            child.kill()
        await asyncio.gather(*(self._start_again(child, seconds) for child in victims))
        return bool(victims)

    async def _start_again(self, child: Child, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await child.gone(NOTICED_S)
        await child.start()
        await self._release(child)

    async def _free(self, child: Child) -> bool:
        """Whether it is up, or soon will be, and not the victim of another fault."""
        try:
            async with self._freed, asyncio.timeout(FREE_S):
                await self._freed.wait_for(lambda: child.up.is_set() and child not in self._taken)
        except TimeoutError:
            return False
        return True

    async def _release(self, child: Child) -> None:
        async with self._freed:
            self._taken.discard(child)
            self._freed.notify_all()

    async def _pause(self, members: Sequence[Member], seconds: float) -> bool:
        if len(members) == 1:
            await self._free(members[0])
        running = [member for member in members if member.running and member not in self._taken]
        incarnations = {member: member.incarnation for member in running}
        self._paused.update(incarnations)
        for member in incarnations:
            member.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for member, incarnation in incarnations.items():
            if member.incarnation == incarnation:  # else it was killed and restarted meanwhile
                member.signal(signal.SIGCONT)
        self._paused.difference_update(incarnations)
        return bool(incarnations)

    async def _fill(self, member: Member, disk: FullDisk | None, seconds: float) -> bool:
        """The node must stop with a reason, and restart when there is space."""
        if disk is None or (isinstance(disk, FrozenFiles) and not disk.available):
            return False
        if not await self._free(member) or member in self._paused:
            return False
        self._taken.add(member)
        member.doomed = True
        incarnation = member.incarnation
        await asyncio.to_thread(disk.fill, member.process_id)
        stopped = await member.gone(NOTICED_S)
        if stopped and (member.code != 1 or any(words not in member.last_words for words in _CLEAR_WORDS)):
            self._fleet.problems.append(
                f"{member.name} (run {incarnation}) on a full disk exited with code {member.code} and the message "
                f"'{member.last_words}'"
            )
        await asyncio.sleep(seconds)
        await asyncio.to_thread(disk.make_room)
        if not stopped:  # it needed no space, or was paused meanwhile; its limit, if any, ends with the process
            member.kill()
            await member.gone(NOTICED_S)
        await member.start()
        await self._release(member)
        return stopped

    async def _claim(self, member: Member) -> bool:
        if not await self._free(member) or member in self._paused:
            return False
        self._taken.add(member)
        return True

    async def _other(self, fault: Fault) -> bool:
        """What is particular to an engine: here, faults of the network."""
        return await self._operate(fault)

    async def _operate(self, fault: Fault) -> bool:
        """At the operator's prompt; a network that is killed meanwhile forgets its faults."""
        prompt = self._fleet.network.prompt if await self._free(self._fleet.network) else None
        leader = self._fleet.leader
        if prompt is None or not fault.commands or (leader is None and "{0}" in fault.commands[0]):
            return False
        slots = [leader, *(number for number in self._fleet.members if number != leader)]
        commands = [command.format(*slots) for command in fault.commands]
        answers = await asyncio.gather(*(prompt.say(f"{each} --for {fault.seconds:.1f}s") for each in commands))
        refused = [answer.said["error"] for answer in answers if answer is not None and not answer.said["ok"]]
        if refused:
            self._fleet.problems.append(f"the operator's command was refused: {fault}: {refused[0]}")
        if refused or None in answers:
            return False
        await asyncio.sleep(fault.seconds)
        return True
