"""Runs one plan: a safety phase with its faults, then a liveness phase in which all nodes must catch up.

**The bound of the liveness phase**, counted from the last fault: `settle_bound`. It grows with what the nodes may have
learned about the network before (silences of up to 10 election times are waited for, and a round trip that was
measured as long is forgotten by a tenth per heartbeat), and with the delays that stay.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path

import msgspec

from paxos.messages import Configuration
from tests.simulation.checkers import all_checkers
from tests.simulation.events import (
    LEADER,
    AnyEvent,
    ChangeMembers,
    Crash,
    CrashAll,
    Cut,
    Depose,
    Fail,
    Hint,
    Hostile,
    Leave,
    Link,
    Pause,
    Restore,
    Stall,
    Storm,
    Stranger,
    Swap,
    Upgrade,
    Use,
    Wipe,
)
from tests.simulation.hostile import forge
from tests.simulation.linearizability import check
from tests.simulation.membership import Membership
from tests.simulation.plan import Final, Plan
from tests.simulation.users import Users
from tests.simulation.world import SIM_TIMING, Node, Observer, Violation, Weather, World

LOOK_S = 0.05
"""How often the liveness phase checks for convergence."""
HINT_S = 0.01


class Run(msgspec.Struct):
    """The outcome of a plan."""

    plan: Plan
    checker: str | None = None
    """The checker that found a violation."""
    complaint: str = ""
    virtual_s: float = 0.0
    settled_s: float = 0.0
    """How long the liveness phase took to converge."""
    bound_s: float = 0.0
    """How long it could have taken."""
    messages: int = 0
    decided: int = 0
    calls: int = 0
    explored: int = 0
    faults: dict[str, int] = {}
    """How often each kind of fault really happened."""


class NotLive(Violation):
    """Something that had to happen did not."""


class NotLinearizable(Violation):
    """The history of users' results is not linearizable."""


MESSAGE = 4_000
"""Bytes of a message and what it waits for, on thin links."""


def settle_bound(plan: Plan, pending: int) -> float:
    """Virtual seconds from the last fault in which everything pending must be decided and all nodes level.

    Pending operations may have to go one by one, if batches and the pipeline are as small as that.
    """
    commit_s = 1.5 * max([plan.weather.fsync, *plan.weather.slow_disks.values()])
    busy_s = MESSAGE / plan.weather.bandwidth if plan.weather.bandwidth else 0.0
    way = plan.final.delay + plan.final.jitter + commit_s + plan.weather.turn_s + busy_s
    remembered = 10 * SIM_TIMING.election_s + 50 * SIM_TIMING.heartbeat_s
    return 2 * remembered + (100 + 3 * pending) * way + plan.llm.seconds + 10.0


def execute(plan: Plan) -> Run:
    """Runs the plan with all checkers; never raises a Violation, but reports the first one."""
    return Scenario(plan, all_checkers()).run()


class Scenario:
    def __init__(self, plan: Plan, observers: Iterable[Observer]) -> None:
        self.plan = plan
        self.users = Users(plan.llm)
        weather = msgspec.structs.replace(plan.weather, cut=set())
        self.world = World(
            plan.seed, range(1, plan.nodes + plan.spares + 1), limits=plan.limits,
            observers=[*observers, self.users], weather=weather, founded=False, members=plan.nodes,
        )
        self.membership = Membership(self.world, self._start)
        self.record = Run(plan)
        self._cuts: list[tuple[Link, ...]] = []
        self._faulty = True
        self._stay_down: tuple[int, ...] = ()
        """In the liveness phase."""
        for node, drift in zip(self.world.nodes.values(), plan.drift, strict=False):
            node.drift = drift
        for node in self.world.nodes.values():
            node.old = plan.old

    def run(self) -> Run:
        record, world = self.record, self.world
        try:
            self._play()
        except Violation as violation:
            record.checker, record.complaint = type(violation).__name__, str(violation)
        except Exception as error:  # noqa: BLE001  whatever the core raises is a finding like any other
            where = traceback.extract_tb(error.__traceback__)[-1]
            record.checker = "Raised"
            record.complaint = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
        record.virtual_s, record.messages = world.now, world.messages
        started = [node for node in world.nodes.values() if node.incarnation]
        record.decided = max((node.replica.log.decided_upto for node in started), default=0)
        return record

    def _play(self) -> None:
        plan, world = self.plan, self.world
        for number, node in enumerate(world.nodes.values()):
            world.at(plan.late[number] if number < len(plan.late) else 0.0, lambda node=node: self._start(node))  # type: ignore[misc]
        for event in plan.events:
            early = event.age if isinstance(event, Restore) else 0.0
            world.at(max(0.0, event.at - early), lambda event=event: self._happen(event))  # type: ignore[misc]
        world.run(plan.safety_s)
        self._calm(plan.final)
        self._settle()
        self._judge()

    # ---- Safety phase

    def _happen(self, event: AnyEvent) -> None:
        world = self.world
        if isinstance(event, Use):
            self.users.type(world, event)
            return
        kind = "crash all" if isinstance(event, CrashAll) else type(event).__name__.lower()
        match event:
            case Crash(point=None):
                node = self._node(event.pid)
                if event.rebooted:
                    node.offset = -world.now * node.drift
                self._crash(node, event.down, event.hinted)
            case Crash():
                kind = "trap"
                self._trap(event)
            case CrashAll():
                for number, node in enumerate(world.nodes.values()):
                    self._crash(node, event.down + number * event.apart)
            case Wipe():
                kind = self.membership.wipe(event)
            case Restore():
                self.membership.copy_for(event)
            case Swap():
                kind = self.membership.swap(event)
            case Stranger():
                kind = self.membership.stranger(event)
            case Hostile():
                kind = self._hostile(event)
            case ChangeMembers():
                self.membership.change(event)
            case Upgrade():
                self.membership.upgrade(event)
            case Pause():
                self._pause(event)
            case Stall():
                self._node(event.pid).stall(event.seconds)
            case Fail():
                self._fail(event)
            case Leave():
                self._leave(event)
            case Cut():
                self._cut(event.links, event.seconds)
            case Depose():
                self._depose(event)
            case Storm():
                self._storm(event)
            case Hint():
                world.nodes[event.pid].suspect(event.peer)
        self._count(kind)
        world.note(f"fault: {event}")

    def _node(self, pid: int) -> Node:
        """The node of that number; for LEADER, the one with the highest claim, or the first."""
        return self.world.nodes[pid] if pid != LEADER else self.membership.leader()

    def _count(self, kind: str) -> None:
        self.record.faults[kind] = self.record.faults.get(kind, 0) + 1

    def _start(self, node: Node) -> None:
        there = self.world.nodes[node.pid] is node
        if there and not node.up and (self._faulty or node.pid not in self._stay_down):
            self.membership.strangers_leave(node)
            node.start()

    def _crash(self, node: Node, down: float, hinted: bool = False) -> None:
        if not node.up:
            return
        node.crash()
        self._fell(node, down, hinted)

    def _fell(self, node: Node, down: float, hinted: bool) -> None:
        self.world.at(down, lambda: self._start(node))
        if hinted:
            for other in self.world.nodes.values():
                if other is not node:
                    self.world.at(HINT_S, lambda other=other: other.suspect(node.pid))  # type: ignore[misc]

    def _trap(self, event: Crash) -> None:
        node = self._node(event.pid)
        assert event.point is not None

        def sprang() -> None:
            self._count(f"died: {event.point}")
            self._fell(node, event.down, event.hinted)

        if node.up:
            node.trap(event.point, event.count, sprang)

    def _hostile(self, event: Hostile) -> str:
        node, world = self._node(event.pid), self.world
        # Until a node knows a configuration, which disks vote is what the members say.
        unfounded = any(each.up and not each.foreign and not each.replica.cluster for each in world.nodes.values())
        if not node.up or node.foreign or not world.configurations or unfounded:
            return "hostile (too early)"
        self._crash(node, event.seconds)
        forge(world, node.pid, lambda: self._faulty and not node.up and world.nodes[node.pid] is node)
        return "hostile"

    def _pause(self, event: Pause) -> None:
        node = self._node(event.pid)
        if node.up and not node.paused:
            incarnation = node.incarnation
            node.pause()
            self.world.at(event.seconds, lambda: node.resume() if node.incarnation == incarnation else None)

    def _fail(self, event: Fail) -> None:
        node = self._node(event.pid)

        def failed() -> None:
            self._count("failed commit")
            self._leaves(node, event)

        if node.up and not node.leaving:
            node.fail_commit(failed)

    def _leave(self, event: Leave) -> None:
        node = self._node(event.pid)
        if node.up and not node.leaving:
            node.leave()
            self._leaves(node, event)

    def _leaves(self, node: Node, event: Fail | Leave) -> None:
        incarnation = node.incarnation
        self.world.at(event.lingers, lambda: self._crash(node, event.down) if node.incarnation == incarnation else None)

    def _depose(self, event: Depose) -> None:
        leader = self._node(LEADER)
        others = [node for node in self.world.nodes.values() if node is not leader]
        for node in others:
            node.suspect(leader.pid)
        deaf = [node.pid for node in others if node.pid not in event.spared]
        if event.cut_s:
            self._cut(tuple(link for pid in deaf for link in ((pid, leader.pid), (leader.pid, pid))), event.cut_s)

    def _cut(self, links: tuple[Link, ...], seconds: float) -> None:
        self._cuts.append(links)
        self._recut()
        self.world.at(seconds, lambda: self._mend(links))

    def _recut(self) -> None:
        self.world.weather.cut = {link for links in self._cuts for link in links}

    def _mend(self, links: tuple[Link, ...]) -> None:
        if links in self._cuts:
            self._cuts.remove(links)
            self._recut()

    def _storm(self, event: Storm) -> None:
        if not self._faulty:
            return
        old = self.world.weather
        storm = msgspec.structs.replace(
            old, loss=event.loss, delay=event.delay, straggle=event.straggle, straggle_s=event.straggle_s
        )
        self.world.weather = storm

        def calm() -> None:
            if self.world.weather is storm:
                storm.loss, storm.delay = old.loss, old.delay
                storm.straggle, storm.straggle_s = old.straggle, old.straggle_s

        self.world.at(event.seconds, calm)

    # ---- Liveness phase

    def _calm(self, final: Final) -> None:
        world = self.world
        self._faulty = False
        self._cuts = []
        self.membership.calm()
        cut = set(final.cut)
        if not self._fits(cut, final.down):
            cut, final = set(), msgspec.structs.replace(final, down=())
        self._stay_down = final.down
        world.note(f"calm: cut {sorted(cut)}, down {final.down}")
        world.weather = Weather(
            delay=final.delay, jitter=final.jitter, fsync=self.plan.weather.fsync, turn_s=self.plan.weather.turn_s,
            slow_disks=self.plan.weather.slow_disks, bandwidth=self.plan.weather.bandwidth, cut=cut,
        )
        for node in world.nodes.values():
            node.disarm()
            if node.pid in final.down:
                if node.up:
                    node.crash()
            elif node.leaving:
                node.crash()
                node.start()
            elif not node.up:
                node.start()
            else:
                node.resume()
        hub = self._hub(cut, final.down)
        known = {*world.named} if hub is None else {*world.named, hub}
        # A disk without a configuration names nobody but the first members.
        unaware = [pid for pid in known if world.nodes[pid].disk.image.configuration is None]
        unknown = {link for pid in unaware for other in known - {*world.named} for link in ((pid, other), (other, pid))}
        self.connected = connected(known, cut | unknown, final.down, hub)
        if world.configurations:  # Spare nodes belong to a founded cluster only; not everybody knows them.
            self.connected += [pid for pid in world.pids if pid not in known]

    def _fits(self, cut: set[Link], down: tuple[int, ...]) -> bool:
        return self._hub(cut, down) is not None

    def _hub(self, cut: set[Link], down: tuple[int, ...]) -> int | None:
        """A voter that exchanges messages directly with a majority of voters, if there is one, whichever configuration
        will be in force."""
        hubs = [self._hub_of(each, cut, down) for each in self.membership.possible()]
        hubs = hubs or [self._hub_of(None, cut, down)]
        return None if None in hubs else hubs[0]

    def _hub_of(self, configuration: Configuration | None, cut: set[Link], down: tuple[int, ...]) -> int | None:
        world = self.world
        voters = [
            pid for pid, node in world.nodes.items() if pid not in down and (
                self.membership.may_vote_now(node, configuration) if configuration is not None
                else world.may_vote(node))
        ]
        if not cut and not down:
            return next(iter(voters), 1)
        for pid in voters:
            reached = [other for other in voters
                       if other == pid or ((pid, other) not in cut and (other, pid) not in cut)]
            if len(reached) >= world.quorum(configuration):
                return pid
        return None

    def _settle(self) -> None:
        world = self.world
        pending = sum(len(node.replica.queue) for node in world.nodes.values() if node.up)
        bound = self.record.bound_s = settle_bound(self.plan, pending + 2 * len(self.connected))
        begun = world.now
        for pid in self.connected:
            self.users.type(world, Use(at=0.0, pid=pid, user=9, op="create", context=f"probe{pid}"))
            self.users.type(world, Use(at=0.0, pid=pid, user=9, op="viewall"))
        while not self._level():
            if world.now - begun > bound:
                raise NotLive(f"not settled {bound:.1f} s after the last fault: {self._state()}")
            world.run(LOOK_S)
        self.record.settled_s = world.now - begun
        for settled in world.hooks["settled"]:
            settled(world, [world.nodes[pid] for pid in self.connected])
        if self.plan.final.watch_s:
            self._watch(begun + bound)

    def _level(self) -> bool:
        """Nothing is pending, all nodes have the same state, and all follow the same leader."""
        nodes = [self.world.nodes[pid] for pid in self.connected]
        # The one that they follow may be connected by nodes that not everybody knows.
        followed = {node.replica.status().leader for node in nodes}
        leaders = [self.world.nodes[pid] for pid in followed if pid in self.world.nodes]
        first = nodes[0]
        decided = first.replica.log.decided_upto
        return (
            all(node.replica.applied == decided and not len(node.replica.queue) and not self.users.waiting[node.pid]
                for node in nodes)
            and len(followed) == len(leaders) == 1 and leaders[0].up and leaders[0].replica.leader is not None
            and all(node.store.digest() == first.store.digest() for node in nodes)
            and self.membership.all_vote(nodes)
        )

    def _watch(self, end: float) -> None:
        """Once the links are stable, so are the ballots."""
        world = self.world
        while True:
            before = self._highest()
            world.run(self.plan.final.watch_s)
            if self._highest() == before:
                return
            if world.now > end:
                raise NotLive(f"ballots still grow, {before} to {self._highest()}: {self._state()}")

    def _highest(self) -> tuple[int, int]:
        return max(self.world.nodes[pid].replica.acceptor.promised.leadership for pid in self.connected)

    def _state(self) -> str:
        nodes = (self.world.nodes[pid] for pid in self.connected)
        return "; ".join(f"{node.replica.status()} waiting {self.users.waiting[node.pid]}" for node in nodes)

    # ---- Afterwards

    def _judge(self) -> None:
        history = self.users.recorder.history()
        verdict = check(history, explain=False)
        self.record.calls, self.record.explored = verdict.calls, verdict.explored
        if not verdict.ok:
            raise NotLinearizable(str(check(history)))


def connected(pids: Iterable[int], cut: set[Link], down: Iterable[int], hub: int | None) -> list[int]:
    """The nodes with a path to `hub` and one back, itself included."""
    alive = [pid for pid in pids if pid not in tuple(down)]
    if hub is None:
        return alive

    def reach(forward: bool) -> set[int]:
        found, edge = {hub}, [hub]
        while edge:
            at = edge.pop()
            for other in alive:
                link = (at, other) if forward else (other, at)
                if other not in found and link not in cut:
                    found.add(other)
                    edge.append(other)
        return found

    return sorted(reach(True) & reach(False))


__all__ = ["Node", "NotLinearizable", "NotLive", "Run", "Scenario", "execute", "settle_bound"]
