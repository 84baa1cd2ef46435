#!/usr/bin/env python3
"""The network orchestrator of ConsensusLLM: python network_server.py [--config config.json] [--json]

Every message between nodes passes through here, so that the operator at this prompt can fail links and nodes and watch
the others carry on.
"""

from __future__ import annotations

import logging
import sys

import uvloop

from config.config import ConfigError
from console.run import Form
from launcher.arguments import EXIT_INTERRUPTED, EXIT_USAGE, Parser, escape_what_cannot_be_shown
from launcher.configuration import load
from launcher.network_process import serve

PROGRAM = "network_server.py"
NO_NETWORK = (
    "this cluster runs on etcd, so there is no network to relay, and no link to fail: nodes need no orchestrator. "
    "`etcdctl` shows the state of etcd's members, `status` at a node that of the node"
)

EXAMPLES = (
    (f"python {PROGRAM}", "the network of config.json, with the operator's prompt"),
    (f"python {PROGRAM} --config other.json", "with another configuration"),
    (f"echo 'script failover' | python {PROGRAM}", "without a terminal: one command per line, then exit"),
    (f"python {PROGRAM} --json", "the same, with one JSON object per line on stdout"),
    (f"python {PROGRAM} --background", "without a prompt, until a signal, as a service (the live page has commands)"),
)


def main() -> int:
    escape_what_cannot_be_shown()
    parser = Parser(PROGRAM, "The network orchestrator of ConsensusLLM.", EXAMPLES)
    parser.add_config()
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout, notices on stderr")
    parser.add_argument("--background", action="store_true", help="no prompt: it runs until a signal ends it")
    args = parser.parse_args()
    try:
        config = load(args.config)
    except ConfigError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_USAGE
    if config.engine.is_etcd:
        print(f"{PROGRAM}: {NO_NETWORK}", file=sys.stderr)
        return EXIT_USAGE
    logging.captureWarnings(True)
    return uvloop.run(serve(config, None if args.background else Form.choose(args.json), PROGRAM))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
