"""Ports of the loopback address that nobody listens on at this moment, for processes that are started next.

Another process may take one before it is used: no port is held, so whoever must not lose one binds it and keeps it.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

_LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """That many different ones."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((_LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def free_port(in_a_row: int = 1) -> int:
    """The first of that many free ones in a row."""
    while True:
        (port,) = free_ports(1)
        with ExitStack() as held, suppress(OSError, OverflowError):
            for each in range(port, port + in_a_row):
                held.enter_context(socket.socket()).bind((_LOOPBACK, each))
            return port
