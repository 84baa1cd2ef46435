"""What is wrong with links that carry messages, as `status` shows it and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from api.operator_events import NetworkStatusEvent
from api.operator_results import LinkOverview, NetworkStatusResult
from net.relay.faults import ALL, Faults, Link
from net.relay.faults.cut import Cut
from net.relay.faults.fault import KINDS

KEYS = [key for key in LinkOverview.__struct_fields__ if key not in ("src", "dst", "others")]
"""Parameters that have a key of their own in the schema; those of further kinds of faults are `others`."""


def parameters(faults: Faults, link: Link = ALL) -> dict[str, float]:
    """Of all kinds but cuts, whether they do anything or not."""
    disturbances = [fault for fault in faults.in_force(link) if not isinstance(fault, Cut)]
    return {key: value for fault in disturbances for key, value in msgspec.structs.asdict(fault).items()}


def status_fields(faults: Faults, link: Link = ALL) -> dict[str, Any]:
    """The fields of a LinkOverview or a NetworkStatusResult that hold the parameters."""
    known = parameters(faults, link)
    others = {key: value for key, value in known.items() if key not in KEYS and value}
    return {**{key: known[key] for key in KEYS}, "others": others or UNSET}


def from_status(status: LinkOverview | NetworkStatusResult | NetworkStatusEvent) -> dict[str, float]:
    """The parameters that the fields hold."""
    return {key: getattr(status, key) for key in KEYS} | (status.others or {})


def words(parameters: Mapping[str, float]) -> list[str]:
    """A few words for each kind of fault that does anything, in the order of the schema's keys."""
    order = [*KEYS, *parameters]
    kinds = [kind for kind in KINDS if kind is not Cut and kind.__struct_fields__[0] in parameters]
    kinds.sort(key=lambda kind: order.index(kind.__struct_fields__[0]))
    faults = [kind(**{key: parameters[key] for key in kind.__struct_fields__}) for kind in kinds]
    return [fault.words() for fault in faults if fault != type(fault)()]
