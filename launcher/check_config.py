"""`python node.py --check-config`: a short summary of a configuration, with warnings."""

from __future__ import annotations

from typing import Any

from config.config import Config
from config.llm_settings import LlmSettings
from llm.provider import ProviderError
from llm.server_address import server_address
from llm.settings import choose
from net.sockets import authority


def summary(config: Config) -> dict[str, Any]:
    """Ready for JSON. `warnings` are sentences."""
    size = len(config.nodes)
    return {
        "event": "config", "ok": True, "file": str(config.path), "cluster": config.cluster,
        "data_dir": str(config.data_dir), "nodes": config.node_ids, "survives": _survived(config),
        "orchestrator": authority(config.orchestrator.host, config.orchestrator.port),
        **({"engine": {
            "type": config.engine.type, "endpoints": list(config.engine.endpoints), "prefix": config.engine.prefix,
        }} if config.engine.is_etcd else {}),
        "llm": {str(node.id): choose(node.llm).why for node in config.nodes},
        "warnings": [*([] if config.engine.is_etcd else warnings(size)), *exposed(config)],
    }


def _survived(config: Config) -> int:
    """So many nodes may fail. On etcd any one of them is enough; how many of etcd's members may, is etcd's affair."""
    return len(config.nodes) - 1 if config.engine.is_etcd else (len(config.nodes) - 1) // 2


def warnings(size: int) -> list[str]:
    """Warnings about a cluster of `size` nodes."""
    if size < 3:
        return [f"a cluster of {size} cannot survive the failure of any node: 3, 5 or 7 nodes are recommended"]
    if size % 2 == 0:
        fewer = f"{size} nodes survive no more failures than {size - 1} do ({(size - 1) // 2})"
        return [f"{fewer}, but need a larger majority: odd sizes are recommended"]
    return []


def exposed(config: Config) -> list[str]:
    """Warns if other users of this machine may read the keys in the file."""
    llms = (config.llm, *(node.llm for node in config.nodes))
    has_key = config.secret is not None or bool(config.http and config.http.keys) or any(map(_has_key, llms))
    if not has_key or not config.path.exists() or not config.path.stat().st_mode & 0o077:
        return []
    return [f"{config.path.name} contains a key and is readable by others: chmod 600 {config.path.name}"]


def _has_key(llm: LlmSettings) -> bool:
    try:
        return llm.api_key is not None or (llm.base_url is not None and bool(server_address(llm.base_url).secrets))
    except ProviderError:
        return True  # an address that makes no sense may hold a password, too


def words(said: dict[str, Any]) -> str:
    """A summary for humans."""
    engine = said.get("engine")
    where = f"network at {said['orchestrator']}" if engine is None else (
        f"on etcd at {', '.join(engine['endpoints'])}, below {engine['prefix']}"
    )
    lines = [
        f"{said['file']} is valid.",
        f"cluster {said['cluster']}: nodes {', '.join(map(str, said['nodes']))}; survives the failure of any "
        f"{said['survives']}; {where}; data in {said['data_dir']}",
        *(f"node {number}: {why}" for number, why in said["llm"].items()),
        *(f"warning: {warning}" for warning in said["warnings"]),
    ]
    return "\n".join(lines)
