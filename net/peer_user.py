"""Which user is at the other end of a connection within this machine. The kernel says so: nothing has to be shared.

A cluster without a secret takes in only processes of its own user, and of root, who can do everything anyway. Linux
answers the question for one connection in some microseconds (sock_diag(7)), however many there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from typing import TypeAlias

Address: TypeAlias = tuple[str | int, ...]
"""As of a socket: host, port, and more for IPv6."""

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_ESTABLISHED = 1  # TCP_ESTABLISHED
_WITHIN_S = 1.0
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
_REST = struct.Struct("=III")
_ANSWER = struct.Struct("=BBBB48xIIIII")
_ANY_COOKIE = 0xFFFF_FFFF
_ROOT = 0


def is_own_user(transport: asyncio.BaseTransport) -> bool:
    """Whether the other end is held by a process of this user, or of root. False if it cannot be told."""
    user = user_of(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
    return user is not None and user in (os.geteuid(), _ROOT)


def can_tell() -> bool:
    """Whether this system answers: it is asked about a connection whose both ends are this process's."""
    with (
        contextlib.suppress(OSError), socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), _WITHIN_S) as near, server.accept()[0],
    ):
        return user_of(near.getsockname(), near.getpeername()) == os.geteuid()
    return False


def user_of(local: Address | None, remote: Address | None) -> int | None:
    """The user of the connected socket with the address `local`, whose other end is `remote`. None if there is none on
    this machine, or no process holds it any more: the kernel would name root for such a one."""
    if not local or not remote or sys.platform != "linux":
        return None
    try:
        question = _question(local, remote)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
            kernel.settimeout(_WITHIN_S)
            kernel.send(question)
            said = kernel.recv(4096)
    except OSError:
        return None
    if len(said) < _HEADER.size + _ANSWER.size or _HEADER.unpack_from(said)[1] != _BY_FAMILY:
        return None
    _, state, _, _, _, _, _, user, inode = _ANSWER.unpack_from(said, _HEADER.size)
    return int(user) if state == _ESTABLISHED and inode else None


def _question(local: Address, remote: Address) -> bytes:
    """Raises OSError if these are no addresses."""
    family = socket.AF_INET6 if ":" in str(local[0]) else socket.AF_INET
    where = [socket.inet_pton(family, str(host)).ljust(16, b"\0") for host in (local[0], remote[0])]
    body = (
        _FAMILY.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED) + _PORTS.pack(int(local[1]), int(remote[1]))
        + b"".join(where) + _REST.pack(0, _ANY_COOKIE, _ANY_COOKIE)
    )
    return _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 0, 0) + body
