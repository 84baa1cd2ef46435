#!/usr/bin/env python3
"""One node of ConsensusLLM: python node.py N [--config config.json] [--json]"""

from __future__ import annotations

import argparse
import json
import sys

from config.config import ConfigError
from launcher import check_config, node_process
from launcher.arguments import EXIT_INTERRUPTED, EXIT_USAGE, Parser, escape_what_cannot_be_shown
from launcher.configuration import load, require_node
from net.control_messages import NODE_MAX, NODE_MIN

EXAMPLES = (
    ("python node.py 1", "node 1 of config.json, with a prompt"),
    ("python node.py 1 --json < commands.txt", "one command per line in, one JSON object per line out"),
    ("python node.py --check-config", "check config.json, start nothing"),
    ("python ctl.py --node 1 create c1", "send one command to a running node"),
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser("node.py", "One node of ConsensusLLM.", EXAMPLES)
    parser.add_argument("node", type=int, nargs="?", help="the node's number, from 1 to 65535")
    parser.add_config()
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout, notices on stderr")
    parser.add_argument("--background", action="store_true", help="no prompt; exits if the node is started at a prompt")
    parser.add_argument(
        "--join", action="store_true", help="start a node that the configuration does not list, to become a member"
    )
    parser.add_argument("--check-config", action="store_true", help="only check the configuration")
    parsed = parser.parse_args(argv)
    if parsed.node is None and not parsed.check_config:
        parser.error("the node number is missing, for example: python node.py 1")
    if parsed.join and not NODE_MIN <= (parsed.node or 0) <= NODE_MAX:
        parser.error(f"a node's number is from {NODE_MIN} to {NODE_MAX}")
    return parsed


def main() -> int:
    escape_what_cannot_be_shown()
    args = arguments()
    try:
        config = load(args.config)
        if args.node is not None and not args.join:
            require_node(config, args.node)
    except ConfigError as error:
        print(f"node.py: {error}", file=sys.stderr)
        return EXIT_USAGE
    if args.check_config:
        said = check_config.summary(config)
        print(json.dumps(said) if args.json else check_config.words(said))
        return 0
    return node_process.run(config, args.node, as_json=args.json, background=args.background)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
