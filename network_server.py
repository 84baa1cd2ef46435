#!/usr/bin/env python3
"""The network orchestrator of ConsensusLLM: python network_server.py [--config config.json] [--json]

Every message between nodes passes through here (net/relay.py), so that the operator at this prompt can fail links and
nodes and watch the others carry on (runtime/orchestrator.py).
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop

from console import Console, Form, Sequential
from runtime.config import DEFAULT_PATH, Config, ConfigError, load
from runtime.network_view import event_text, show
from runtime.notices import route_logging
from runtime.orchestrator import USAGES, Orchestrator

EXIT_FAILED, EXIT_USAGE = 1, 2


async def serve(config: Config, form: Form) -> int:
    """Relays until the operator leaves or a signal comes; returns the exit code of the process."""
    console = Console(form, title="network", history_path=config.data_dir / "history-network")
    orchestrator = Orchestrator(config, lambda event: console.emit(event, event_text(event)))
    try:
        port = await orchestrator.start()
    except OSError as error:
        print(f"network_server.py: {_cannot_listen(config, error)}", file=sys.stderr)
        return EXIT_FAILED
    restore_logging = route_logging(console.say)
    where = f"{config.orchestrator.host}:{port}"
    console.emit(
        {"event": "ready", "port": port, "host": config.orchestrator.host, "nodes": config.node_ids},
        f"network of {config.cluster} at {where}, for the nodes {', '.join(map(str, config.node_ids))}",
    )
    executor = Sequential(
        USAGES, orchestrator.execute, show=show, complete=orchestrator.complete, waiting_for=orchestrator.waiting_for
    )
    talking = asyncio.create_task(console.run(executor, status_line=orchestrator.status_line))
    for sign in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sign, talking.cancel)
    try:
        await asyncio.wait([talking])
        return 0 if talking.cancelled() else talking.result()
    finally:
        await orchestrator.close()
        restore_logging()


def _cannot_listen(config: Config, error: OSError) -> str:
    host, port = config.orchestrator.host, config.orchestrator.port
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program, perhaps this cluster's network already: stop that "
            f'one, or set another "orchestrator": {{"port": ...}} in {config.path}'
        )
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return f'cannot listen on {host}:{port}: {reason}; "orchestrator" in {config.path} says where to listen'


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="network_server.py", description="The network orchestrator of ConsensusLLM.",
        epilog="example: python network_server.py --config config.json",
    )
    parser.add_argument("--config", type=Path, default=Path(DEFAULT_PATH), help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    args = parser.parse_args()
    try:
        config = load(args.config)
    except ConfigError as error:
        print(f"network_server.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    logging.captureWarnings(True)
    return uvloop.run(serve(config, Form.choose(args.json)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
