"""Socket options for both ends of a connection."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

_UNSENT = 128 * 1024
"""Bytes; more stay in the process."""
_IDLE_S, _INTERVAL_S, _PROBES = 5, 3, 3
_UNANSWERED_MS = 1000 * (_IDLE_S + _INTERVAL_S * _PROBES)


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Detects after about 15 s that the host at the other end has vanished, whether the connection is idle or has sent
    something. The kernel holds little unsent, because nothing can overtake it any more."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _IDLE_S), ("TCP_KEEPINTVL", _INTERVAL_S), ("TCP_KEEPCNT", _PROBES),
        ("TCP_NOTSENT_LOWAT", _UNSENT),
    ):
        # Not every system has all of these; the defaults only take longer.
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    # Without it, the kernel sends again for a quarter of an hour, ever more rarely. Not within a machine, which cannot
    # vanish: there, only a paused process answers nothing, and it is to stay connected.
    peer = transport.get_extra_info("peername")
    if hasattr(socket, "TCP_USER_TIMEOUT") and peer and not is_loopback(str(peer[0])):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)


def authority(host: str, port: int) -> str:
    """As in URLs: an IPv6 address is put in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or the name "localhost", is only reachable from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
