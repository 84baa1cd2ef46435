"""All targets, by the names of their modules: who adds one adds a file."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from tests.fuzz import targets
from tests.fuzz.target import Target

CORPUS = Path(__file__).with_name("corpus")
"""For each target a folder of inputs that are worth trying every time: that once found something, or reach far."""


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def load(name: str) -> Target:
    target: Target = importlib.import_module(f"{targets.__name__}.{name}").TARGET
    return target


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
