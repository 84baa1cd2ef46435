"""All commands of a node, in the order in which help lists them."""

from __future__ import annotations

from api import operator_commands
from api.base import names_in
from console.command_table import CommandTable
from console.node.conversations import AUTO, DELETE, FORK, RENAME, SYSTEM, TITLE, UNDELETE
from console.node.executor import NodeExecutor
from console.node.files import BACKUP, EXPORT, IMPORT
from console.node.reading import LAST, LOG, MEMBERS, QUOTA, SEARCH, STATUS, VIEW, VIEWALL
from console.node.screen import EXPLAIN, NORMAL, QUIET, USE, VERBOSE
from console.node.writing import ASK, CANCEL, CHOOSE, CREATE, QUERY, REGENERATE, RETRY

NODE_TABLE: CommandTable[NodeExecutor] = CommandTable([
    CREATE, QUERY, CHOOSE, ASK, CANCEL, RETRY, REGENERATE, VIEW, LAST, VIEWALL, SEARCH, FORK, RENAME, TITLE, SYSTEM,
    AUTO, DELETE, UNDELETE, USE, LOG, EXPLAIN, EXPORT, IMPORT, BACKUP, QUIET, NORMAL, VERBOSE, MEMBERS, QUOTA, STATUS,
], names_in(operator_commands), "at the network")
