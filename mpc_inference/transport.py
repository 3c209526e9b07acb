"""Authenticated frames between two processes: length, sequence number, kind, payload.

Mutual TLS 1.3 underneath; a frame out of sequence, too long or of an unknown kind ends the connection. Control frames are JSON,
shares are raw words: nothing is unpickled. Every wait has a deadline. It does NOT hide lengths or timing.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mpc_inference import certificates
from mpc_inference.errors import DeadlineExceeded, FrameInvalid, HandshakeRefused, PeerUnavailable

VERSION = 2
HEADER = struct.Struct("!IQB")
MAX_FRAME = 1 << 28
CHUNK = 1 << 15
CONTROL, WORDS, EXCHANGE, SEALED = 1, 2, 3, 4


@dataclass
class Traffic:
    """Bytes and frames of one link."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_frames: int = 0
    received_frames: int = 0


class Link:
    """One authenticated connection. One thread sends and one receives; `abort` may come from any."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._socket = connection
        self._timeout_s = timeout_s
        self._delay_s = self._second_per_byte = 0.0
        self._send_number = self._receive_number = 0
        self.traffic = Traffic()
        connection.settimeout(timeout_s)

    def set_delay(self, delay_s: float, bytes_per_s: float) -> None:
        """Wait before every exchange, and for its bytes at a rate (0: any): stands in for a slower network in a benchmark."""
        self._delay_s, self._second_per_byte = delay_s, 1 / bytes_per_s if bytes_per_s else 0.0

    def set_deadline(self, timeout_s: float | None) -> None:
        """How long one send or receive may take; None waits for ever."""
        self._socket.settimeout(timeout_s)

    def send(self, kind: int, payload: bytes | bytearray | memoryview) -> None:
        """Send one frame. Raises PeerUnavailable, DeadlineExceeded."""
        header = HEADER.pack(len(payload), self._send_number, kind)
        try:
            if len(payload) <= CHUNK:
                self._socket.sendall(header + payload)
            else:
                self._socket.sendall(header)
                self._socket.sendall(payload)
        except TimeoutError as error:
            raise DeadlineExceeded("the other side does not read: it is stuck or overloaded") from error
        except (OSError, ValueError) as error:
            raise PeerUnavailable("the connection broke while sending: check that the other process runs") from error
        self._send_number += 1
        self.traffic.sent_frames += 1
        self.traffic.sent_bytes += len(payload) + HEADER.size

    def _read(self, count: int) -> bytearray:
        out = bytearray(count)
        view, at = memoryview(out), 0
        while at < count:
            try:
                got = self._socket.recv_into(view[at:])
            except TimeoutError as error:
                raise DeadlineExceeded("the other side did not answer in time") from error
            except (OSError, ValueError) as error:
                raise PeerUnavailable("the connection broke: check that the other process runs") from error
            if got == 0:
                if at or count != HEADER.size:
                    raise FrameInvalid("the connection ended inside a frame")
                raise PeerUnavailable("the other side closed the connection")
            at += got
        return out

    def receive(self, kind: int) -> bytearray:
        """The next frame's payload. Raises FrameInvalid for another kind, a wrong number or a frame that is too long."""
        length, number, got = HEADER.unpack(self._read(HEADER.size))
        if number != self._receive_number:
            raise FrameInvalid(f"frame {number} where {self._receive_number} was due: replayed or lost")
        if got != kind or length > MAX_FRAME:
            raise FrameInvalid(f"a frame of kind {got} and {length} bytes where kind {kind} was due")
        self._receive_number += 1
        self.traffic.received_frames += 1
        self.traffic.received_bytes += length + HEADER.size
        return self._read(length) if length else bytearray()

    def exchange(self, mine: bytes) -> bytes:
        """Send and receive equally many bytes, in pieces that no socket buffer chokes on."""
        if self._delay_s:
            time.sleep(self._delay_s + len(mine) * self._second_per_byte)
        if len(mine) <= CHUNK:
            self.send(EXCHANGE, mine)
            theirs = bytes(self.receive(EXCHANGE))
        else:
            parts = []
            for at in range(0, len(mine), CHUNK):
                self.send(EXCHANGE, mine[at : at + CHUNK])
                parts.append(self.receive(EXCHANGE))
            theirs = b"".join(parts)
        if len(theirs) != len(mine):
            raise FrameInvalid(f"the other side sent {len(theirs)} bytes where {len(mine)} were due")
        return theirs

    def send_control(self, message: dict[str, Any]) -> None:
        """Send a JSON object."""
        self.send(CONTROL, json.dumps(message).encode())

    def receive_control(self) -> dict[str, Any]:
        """Receive a JSON object. Raises FrameInvalid when it is none."""
        return as_object(self.receive(CONTROL))

    def has_unread(self) -> bool:
        """Whether decrypted bytes wait in memory, where no poll of the socket sees them."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def fileno(self) -> int:
        """The socket's descriptor, for polling."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def abort(self) -> None:
        """Break the connection under a thread that waits on it."""
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return  # it was not connected any more


def as_object(payload: bytes | bytearray) -> dict[str, Any]:
    """The JSON object of a control frame. Raises FrameInvalid when it is none."""
    try:
        message = json.loads(payload)
    except ValueError as error:
        raise FrameInvalid("a control frame is not JSON") from error
    if not isinstance(message, dict):
        raise FrameInvalid("a control frame is not an object")
    return message


def first_readable(links: Sequence[Link], timeout_s: float) -> Link:
    """The first of `links` with something to receive (or broken). Raises DeadlineExceeded, PeerUnavailable."""
    for link in links:
        if link.has_unread():
            return link
    poll, by_number = select.poll(), {link.fileno(): link for link in links}
    if -1 in by_number:
        raise PeerUnavailable("the connection was closed")
    for number in by_number:
        poll.register(number, select.POLLIN)
    ready = poll.poll(max(0.0, timeout_s) * 1000)
    if not ready:
        raise DeadlineExceeded("the other side did not answer in time")
    return by_number[ready[0][0]]


def _tune(raw: socket.socket) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def connect(host: str, port: int, certs: Path, own_role: str, role: str, timeout_s: float) -> Link:
    """Connect as `own_role` to a process that proves to be `role`. Raises PeerUnavailable, HandshakeRefused."""
    tls = certificates.context(certs, own_role, server=False)
    try:
        raw = socket.create_connection((host, port), timeout_s)
        _tune(raw)
        return Link(tls.wrap_socket(raw, server_hostname=certificates.host_name(role)), timeout_s)
    except ssl.SSLError as error:
        raise HandshakeRefused(
            f"{role} at {host}:{port} shows a certificate that is not ours: both need files of one `llmos mpc init`"
        ) from error
    except OSError as error:
        raise PeerUnavailable(f"{role} at {host}:{port} does not answer: start it, or check the address") from error


def connect_patiently(host: str, port: int, certs: Path, own_role: str, role: str, timeout_s: float) -> Link:
    """Like `connect`, trying again until somebody answers or timeout_s has passed. Raises PeerUnavailable, HandshakeRefused."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            return connect(host, port, certs, own_role, role, timeout_s)
        except PeerUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PeerUnavailable when the port is taken."""
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        raise PeerUnavailable(
            f"port {port} on {host} cannot be opened: another process holds it; choose another in the configuration"
        ) from error
    server.listen(64)
    return server


def accept(raw: socket.socket, tls: ssl.SSLContext, timeout_s: float) -> tuple[Link, str]:
    """Finish an accepted connection; answers the link and the role that the other side's certificate names. Raises HandshakeRefused."""
    raw.settimeout(timeout_s)
    try:
        _tune(raw)
        secured = tls.wrap_socket(raw, server_side=True)
    except (OSError, ssl.SSLError) as error:
        raw.close()
        raise HandshakeRefused("a connection without a certificate of ours was refused") from error
    shown: Any = (secured.getpeercert() or {}).get("subjectAltName", ())
    names = [value for key, value in shown if key == "DNS"]
    for role in certificates.ROLES:
        if certificates.host_name(role) in names:
            return Link(secured, timeout_s), role
    secured.close()
    raise HandshakeRefused("a certificate of ours names no known role")


class Greeting(Protocol):
    """What a greeting needs of a link or a sealed lane."""

    def send_control(self, message: dict[str, Any]) -> None: ...

    def receive_control(self) -> dict[str, Any]: ...


def greet(link: Greeting, digest: str, **more: Any) -> dict[str, Any]:
    """Both sides say their protocol version and what they compute; raises HandshakeRefused where they differ."""
    link.send_control({"version": VERSION, "digest": digest, **more})
    theirs = link.receive_control()
    if theirs.get("version") != VERSION:
        raise HandshakeRefused(
            f"the other side speaks version {theirs.get('version')}, this one {VERSION}: install the same release on both"
        )
    if theirs.get("digest") != digest:
        raise HandshakeRefused(
            "the other side holds other weights or tables: copy the same prepared model file to both, and install the same release"
        )
    return theirs
