"""What the rest of the project uses of paxos/ is what paxos/__init__.py names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import paxos
import paxos.messages

ROOT = Path(__file__).resolve().parents[3]
PUBLIC = {*paxos.__all__, "ballot", "is_urgent", *(name for name in vars(paxos.messages) if name[0].isupper())}
INSIDE = {"paxos", "tests"}


def private_names(source: str) -> list[str]:
    """Imports of paxos that are not of its public surface."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "paxos":
            found += [alias.name for alias in node.names if alias.name not in PUBLIC]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("paxos.")]
    return found


def files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.py")):
        top = path.relative_to(ROOT).parts[0]
        if top not in INSIDE and not top.startswith("."):
            yield path


def test_nothing_else_is_imported_elsewhere() -> None:
    found = {str(path.relative_to(ROOT)): private_names(path.read_text("utf-8")) for path in files()}
    assert found and not {path: names for path, names in found.items() if names}


@pytest.mark.parametrize("source", ["from paxos.log import Log", "from paxos import effects", "import paxos.replica"])
def test_what_is_private_is_found(source: str) -> None:
    assert private_names(source)


def test_every_public_name_is_there() -> None:
    assert sorted(paxos.__all__, key=lambda name: (not name.isupper(), name)) == paxos.__all__
    assert all(hasattr(paxos, name) for name in paxos.__all__)
