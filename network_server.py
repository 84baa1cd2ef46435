#!/usr/bin/env python3
"""The network orchestrator of ConsensusLLM: python network_server.py [--config config.json] [--json]

Every message between nodes passes through here (net/relay/relay.py), so that the operator at this prompt can fail
links and nodes and watch the others carry on (orchestrator/service.py).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys

import uvloop

from config.config import Config, ConfigError
from console import Console, Form
from console.log_notices import route_logging
from console.operator_prompt import OperatorPrompt
from console.operator_views import event_text
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Parser
from launcher.check_config import warnings
from launcher.configuration import load
from orchestrator.service import Orchestrator

PROGRAM = "network_server.py"

EXAMPLES = (
    (f"python {PROGRAM}", "the network of config.json, with the operator's prompt"),
    (f"python {PROGRAM} --config other.json", "of another configuration"),
    (f"echo 'script failover' | python {PROGRAM}", "without a terminal: one command a line, then leave"),
    (f"python {PROGRAM} --json", "the same, with one JSON object a line on stdout"),
)


async def serve(config: Config, form: Form) -> int:
    """Relays until the operator leaves or a signal comes; returns the exit code of the process."""
    console = Console(form, title="network", history_path=config.data_dir / "history-network")
    orchestrator = Orchestrator(
        config, lambda event: console.emit(event, event_text(event)), live=form is Form.TERMINAL
    )
    try:
        port = await orchestrator.start()
    except OSError as error:
        print(f"{PROGRAM}: {_cannot_listen(config, error)}", file=sys.stderr)
        return EXIT_FAILED
    restore_logging = route_logging(console.say)
    where = f"{config.orchestrator.host}:{port}"
    console.emit(
        {"event": "ready", "port": port, "host": config.orchestrator.host, "nodes": config.node_ids},
        f"network of {config.cluster} at {where}, for the nodes {', '.join(map(str, config.node_ids))}; type help, or "
        "script failover",
    )
    for warning in warnings(len(config.nodes)):
        console.say(f"warning: {warning}")
    prompt = OperatorPrompt(orchestrator)
    talking = asyncio.create_task(console.run(prompt, status_line=lambda: prompt.status_line(console.paper)))
    for sign in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sign, talking.cancel)
    try:
        await asyncio.wait([talking])
        return 0 if talking.cancelled() else talking.result()
    finally:
        talking.cancel()
        await asyncio.wait([talking])
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
    parser = Parser(PROGRAM, "The network orchestrator of ConsensusLLM.", EXAMPLES)
    parser.add_config()
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout, notices on stderr")
    args = parser.parse_args()
    try:
        config = load(args.config)
    except ConfigError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_USAGE
    logging.captureWarnings(True)
    return uvloop.run(serve(config, Form.choose(args.json)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
