"""`members`: who belongs to the cluster, and changes of that."""

from __future__ import annotations

import asyncio

from api.base import Failure
from api.errors import BUSY
from api.lost_quorum import no_quorum
from api.node_commands import MembersCommand
from api.node_results import MemberRecord, MembersResult
from engine.interface import Busy, Engine, Membership

WITHIN_S = 30.0
"""A change that is not decided by then is not asked for any more."""


async def members(engine: Engine, command: MembersCommand) -> MembersResult | Failure:
    membership = engine.membership()
    if membership is None:
        founding = "the cluster is not founded yet: that takes a majority of its nodes"
        return Failure(error=engine.status().notice or founding)
    if command.change is None or command.node is None:
        return _shown(membership)
    status = engine.status()
    if status.lost:
        return Failure(error=no_quorum(status.lost, status.voters))
    why_not = _refusal(membership, command.change, command.node)
    if why_not is not None:
        return Failure(error=why_not)
    try:
        change = engine.change_members(command.change, command.node)
    except Busy as busy:
        return Failure(error=f"{BUSY}: {busy}")
    try:
        await asyncio.wait_for(change, WITHIN_S)
    except TimeoutError:
        return Failure(error=_not_made(command.change, command.node))
    changed = engine.membership()
    assert changed is not None, "a cluster is founded for ever"
    if command.change == "remove" and changed.members.keys() == {command.node}:
        return Failure(error=_only(command.node))  # others were removed meanwhile
    return _shown(changed)


def _shown(membership: Membership) -> MembersResult:
    records = [MemberRecord(node, known) for node, known in sorted(membership.members.items())]
    return MembersResult(cluster=membership.cluster, number=membership.number, members=records)


def _refusal(membership: Membership, change: str, node: int) -> str | None:
    if change == "add":
        return f"node {node} is a member already" if node in membership.members else None
    if node not in membership.members:
        return f"node {node} is no member: there are {', '.join(map(str, sorted(membership.members)))}"
    if change == "remove" and len(membership.members) == 1:
        return _only(node)
    return None


def _only(node: int) -> str:
    return f"node {node} is the only member: a cluster has at least one"


def _not_made(change: str, node: int) -> str:
    why = {
        "add": f"node {node} must run, reach the leader, and catch up",
        "remove": "the others must be a majority without it",
        "replace": f"node {node} must be stopped; it counts again once a node {node} has come back and caught up",
    }[change]
    return f"not decided within {WITHIN_S:.0f} s, and not asked for any more: {why}"
