"""All commands of a node, in the order in which help lists them."""

from __future__ import annotations

from console.command_table import CommandTable
from console.node.executor import NodeExecutor
from console.node.files import BACKUP, EXPORT, IMPORT
from console.node.reading import LAST, LOG, MEMBERS, QUOTA, STATUS, VIEW, VIEWALL
from console.node.screen import EXPLAIN, NORMAL, QUIET, USE, VERBOSE
from console.node.writing import ASK, CANCEL, CHOOSE, CREATE, QUERY, RETRY

NODE_TABLE: CommandTable[NodeExecutor] = CommandTable([
    CREATE, QUERY, CHOOSE, ASK, CANCEL, RETRY, VIEW, LAST, VIEWALL, USE, LOG, EXPLAIN, EXPORT, IMPORT, BACKUP, QUIET,
    NORMAL, VERBOSE, MEMBERS, QUOTA, STATUS,
])
