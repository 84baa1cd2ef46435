"""What is checked before a cluster is started."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from config.config import parse
from launcher.preconditions import port_is_free


def test_a_port_is_looked_for_where_the_orchestrator_would_listen(tmp_path: Path, ipv6: str) -> None:
    for host, family in (("127.0.0.1", socket.AF_INET), (ipv6, socket.AF_INET6)):
        with socket.create_server((host, 0), family=family) as server:
            port = server.getsockname()[1]
            text = json.dumps({"nodes": [{"id": 1}], "orchestrator": {"host": host, "port": port}})
            config = parse(text, tmp_path / "config.json", ["fake"])
            assert not port_is_free(config)
        assert port_is_free(config)
