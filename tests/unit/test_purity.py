"""The arrows between packages point one way, and the replicated packages are pure: read off the source of each file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT: dict[str, set[str]] = {
    "paxos": set(),
    "kvstore": set(),
    "storage": {"paxos"},
    "net": set(),
    "api": set(),
    "config": set(),
    "engine": {"storage", "net", "kvstore", "paxos"},
    "llm": {"config", "kvstore"},
    "server": {"engine", "llm", "api", "config", "kvstore", "paxos"},
    "orchestrator": {"net", "api", "config"},
    "console": {"server", "orchestrator", "api", "config", "kvstore"},
    "web": {"server", "orchestrator", "engine", "net", "api", "config", "kvstore"},
    "launcher": {
        "web", "console", "server", "orchestrator", "engine", "llm", "storage", "net", "api", "config", "paxos",
    },
}
"""Which other packages a package may import: only such as stand below it."""

OUTSIDE = {"node", "network_server", "ctl", "bench", "tests"}
"""What no package may import: entry points, and what looks at the packages from outside."""

PURE_PACKAGES = ("paxos", "kvstore")

PURE_MODULES = {
    "__future__", "array", "bisect", "collections", "dataclasses", "enum", "functools", "hashlib", "heapq", "itertools",
    "math", "msgspec", "struct", "typing", "zlib",
}

IMPURE_CALLS = {
    "__import__", "breakpoint", "eval", "exec", "input", "open", "print",
    "hash", "id",  # differ between processes
}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(tree: ast.AST, for_types_only: bool = False) -> Iterator[tuple[str, str | None, bool, int]]:
    """(module, imported name, whether under `if TYPE_CHECKING`, line) of every import, at any depth."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, for_types_only, node.lineno
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield "." * node.level + (node.module or ""), alias.name, for_types_only, node.lineno
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from imports(ast.Module(node.body, []), True)
            yield from imports(ast.Module(node.orelse, []), for_types_only)
        else:
            yield from imports(node, for_types_only)


def impurities(package: str, source: str) -> list[str]:
    """What a file of a pure package must not contain."""
    tree = ast.parse(source)
    found = []
    for module, name, for_types_only, line in imports(tree):
        top = module.split(".")[0]
        random_as_type = package == "paxos" and module == "random" and (for_types_only or name == "Random")
        if not (top in PURE_MODULES or top == package or random_as_type):
            found.append(f"line {line}: import of {module or '.'}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"line {node.lineno}: call of {node.func.id}")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Random", "random.Random"):
            found.append(f"line {node.lineno}: a random source of its own")
    return found


def wrong_arrows(package: str, source: str) -> list[str]:
    """Imports of packages that this package must not know."""
    forbidden = (set(MAY_IMPORT) | OUTSIDE) - MAY_IMPORT[package] - {package}
    return [
        f"line {line}: import of {module or '.'}"
        for module, _, _, line in imports(ast.parse(source))
        if module.split(".")[0] in forbidden or module.startswith("..")
    ]


@pytest.mark.parametrize("package", PURE_PACKAGES)
def test_replicated_packages_are_pure(package: str) -> None:
    assert files(package)
    found = {path.relative_to(ROOT).as_posix(): impurities(package, path.read_text("utf-8")) for path in files(package)}
    assert not {path: lines for path, lines in found.items() if lines}


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_arrows_between_packages_point_one_way(package: str) -> None:
    assert files(package)
    found = {str(path.relative_to(ROOT)): wrong_arrows(package, path.read_text("utf-8")) for path in files(package)}
    assert not {path: lines for path, lines in found.items() if lines}


@pytest.mark.parametrize(
    "source",
    [
        "import time", "import os.path", "from asyncio import sleep", "import random", "def f():\n    import socket",
        "if True:\n    import time", "class A:\n    from pathlib import Path", "from kvstore import store",
        "try:\n    import sqlite3\nexcept ImportError:\n    pass", "from random import random", "open('x')",
        "x = [hash(y) for y in 'z']", "from random import Random\nr = Random()", "__import__('time')",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import random", "if TYPE_CHECKING:\n    import time",
    ],
)
def test_impurities_are_found(source: str) -> None:
    assert impurities("paxos", source)


@pytest.mark.parametrize(
    "source",
    [
        "import msgspec.msgpack", "from collections.abc import Mapping", "from paxos.ballot import BOTTOM",
        "from random import Random\ndef f(random: Random) -> None: ...",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import random", "from .ballot import BOTTOM",
    ],
)
def test_pure_imports_are_fine(source: str) -> None:
    # A relative import has an empty top module, which is written out in this project.
    assert bool(impurities("paxos", source)) == source.startswith("from .")


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("paxos", "import kvstore.store"), ("kvstore", "from paxos import messages"), ("storage", "import kvstore"),
        ("storage", "from engine.paxos import PaxosEngine"), ("net", "import storage"), ("llm", "import engine"),
        ("server", "def f():\n    from console import layout"), ("launcher", "import node"),
        ("engine", "import server"), ("web", "from console.node import table"), ("console", "import web.keys"),
        ("server", "from tests.unit import x"), ("net", "from ..paxos import messages"), ("config", "import llm"),
    ],
)
def test_wrong_arrows_are_found(package: str, source: str) -> None:
    assert wrong_arrows(package, source)


@pytest.mark.parametrize(
    ("package", "source"),
    [("storage", "from paxos.output import Durable"), ("llm", "import kvstore.rows"), ("net", "import net.auth")],
)
def test_right_arrows_are_fine(package: str, source: str) -> None:
    assert not wrong_arrows(package, source)
