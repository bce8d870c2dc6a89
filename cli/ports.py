"""Ports of this machine: a free one, or the one that a setting names."""

from __future__ import annotations

import errno
import socket
from contextlib import closing


class PortTaken(RuntimeError):
    """A port cannot be had; the message ends with the setting to change."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now; another process may take it before the caller does."""
    with closing(socket.socket()) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def chosen_port(host: str, port: int, setting: str) -> int:
    """The given port, or a free one for 0. Raises `PortTaken`, which names the setting, when it is in use."""
    try:
        if port == 0:
            return free_port(host)
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise PortTaken(f"{host} is no IPv4 address of this machine: set TINYCDP_HOST") from None
        raise PortTaken(f"port {port} cannot be had ({error.strerror}): set {setting}, 0 for any free one") from None
    return port
