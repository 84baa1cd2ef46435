"""Injected faults. Each kind is a module here, which registers itself: see fault.py."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from net.relay.faults.fault import DROP, KINDS
from net.relay.faults.layers import ALL, Link
from net.relay.faults.pipeline import NOW, Faults

__all__ = ["ALL", "DROP", "KINDS", "NOW", "Faults", "Link"]

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
