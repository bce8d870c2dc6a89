"""Ports of this machine: a free one, or the one that a setting names; and the host that reaches a server there."""

from __future__ import annotations

import errno
import socket


class PortTaken(RuntimeError):
    """A port cannot be had; the message ends with the setting to change."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now; another process may take it before the caller does."""
    with _bound(host, 0) as probe:
        return int(probe.getsockname()[1])


def chosen_port(host: str, port: int, setting: str) -> int:
    """The given port, or a free one for 0. Raises `PortTaken`, which names the setting, when it is in use."""
    try:
        if port == 0:
            return free_port(host)
        _bound(host, port).close()
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise PortTaken(f"{host} is no address of this machine: set TINYCDP_HOST") from None
        raise PortTaken(f"port {port} cannot be had ({error.strerror}): set {setting}, 0 for any free one") from None
    return port


def reached_host(host: str) -> str:
    """The host, as a URL has it, by which this machine reaches a server that binds to an address."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reached.replace('%', '%25')}]" if ":" in reached else reached


def _bound(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address of either family, as a server's would be."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    probe = socket.socket(family, kind, protocol)
    try:
        if port:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    except OSError:
        probe.close()
        raise
    return probe
