"""What the wire refuses: wrong certificates, replayed, truncated and oversized frames, other versions, other weights."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mpc_inference import certificates, transport
from mpc_inference.config import read_config
from mpc_inference.errors import DeadlineExceeded, FrameInvalid, HandshakeRefused, MpcError, PeerUnavailable


def pair(certs: Path, client_certs: Path | None = None) -> tuple[transport.Link, transport.Link]:
    """Two ends of one authenticated connection: (party 0's, client's)."""
    server = transport.listen("127.0.0.1", 0)
    ends: list[transport.Link | MpcError] = []

    def serve() -> None:
        raw, _ = server.accept()
        try:
            ends.append(transport.accept(raw, certificates.context(certs, "party0", server=True), 3.0)[0])
        except MpcError as error:
            ends.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        link = transport.connect("127.0.0.1", server.getsockname()[1], client_certs or certs, "client", "party0", 3.0)
    finally:
        thread.join(5)
        server.close()
    if isinstance(ends[0], MpcError):
        raise ends[0]
    return ends[0], link


@pytest.fixture
def certs(tiny: Path) -> Path:
    return read_config(tiny).certificates


def test_frames_arrive_and_are_counted(certs: Path) -> None:
    a, b = pair(certs)
    b.send_control({"x": 1})
    assert a.receive_control() == {"x": 1}
    assert a.traffic.received_frames == b.traffic.sent_frames == 1
    assert a.traffic.received_bytes == b.traffic.sent_bytes


@pytest.mark.parametrize("size", [10, transport.CHUNK, 3 * transport.CHUNK + 5])
def test_exchange_swaps_equal_lengths(certs: Path, size: int) -> None:
    a, b = pair(certs)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(a.exchange(b"a" * size)))
    thread.start()
    assert b.exchange(b"b" * size) == b"a" * size
    thread.join(5)
    assert got == [b"b" * size]


def test_a_stranger_s_certificate_is_refused(certs: Path, stranger: Path) -> None:
    def meet() -> None:
        a, _ = pair(certs, stranger)
        a.receive_control()

    with pytest.raises((HandshakeRefused, PeerUnavailable)):
        meet()


def test_a_client_cannot_pass_for_a_party(certs: Path) -> None:
    server = transport.listen("127.0.0.1", 0)
    roles: list[str] = []

    def serve() -> None:
        raw, _ = server.accept()
        roles.append(transport.accept(raw, certificates.context(certs, "party0", server=True), 3.0)[1])

    thread = threading.Thread(target=serve)
    thread.start()
    transport.connect("127.0.0.1", server.getsockname()[1], certs, "client", "party0", 3.0)
    thread.join(5)
    server.close()
    assert roles == ["client"]


def test_the_server_must_have_the_expected_role(certs: Path) -> None:
    server = transport.listen("127.0.0.1", 0)

    def serve() -> None:
        raw, _ = server.accept()
        with pytest.raises(HandshakeRefused):
            transport.accept(raw, certificates.context(certs, "party0", server=True), 3.0)

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(HandshakeRefused, match="certificate"):
        transport.connect("127.0.0.1", server.getsockname()[1], certs, "client", "dealer", 3.0)
    thread.join(5)
    server.close()


def frame(length: int, number: int, kind: int, payload: bytes = b"") -> bytes:
    return transport.HEADER.pack(length, number, kind) + payload


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (frame(2, 5, transport.CONTROL, b"{}"), "replayed"),
        (frame(2, 0, transport.WORDS, b"{}"), "kind"),
        (frame(transport.MAX_FRAME + 1, 0, transport.CONTROL), "bytes"),
        (frame(9, 0, transport.CONTROL, b"{}"), "inside a frame"),
        (frame(3, 0, transport.CONTROL, b"[1]"), "object"),
        (frame(3, 0, transport.CONTROL, b"\x80\x04."), "JSON"),
    ],
    ids=["replayed", "kind", "oversized", "truncated", "not-an-object", "a-pickle"],
)
def test_bad_frames_end_the_connection(certs: Path, raw: bytes, said: str) -> None:
    a, b = pair(certs)
    b._socket.sendall(raw)
    b._socket.close()
    with pytest.raises(FrameInvalid, match=said):
        a.receive_control()


def test_a_frame_sent_twice_is_refused(certs: Path) -> None:
    a, b = pair(certs)
    b._socket.sendall(frame(2, 0, transport.CONTROL, b"{}") * 2)
    a.receive_control()
    with pytest.raises(FrameInvalid, match="replayed"):
        a.receive_control()


def test_silence_ends_at_the_deadline(certs: Path) -> None:
    a, _b = pair(certs)
    a.set_deadline(0.2)
    with pytest.raises(DeadlineExceeded):
        a.receive_control()


def both_greet(a: transport.Link, b: transport.Link, theirs: Callable[[], None], digest: str) -> None:
    thread = threading.Thread(target=theirs)
    thread.start()
    try:
        transport.greet(a, digest)
    finally:
        thread.join(5)


def test_another_version_is_refused(certs: Path) -> None:
    a, b = pair(certs)
    with pytest.raises(HandshakeRefused, match="version 0"):
        both_greet(a, b, lambda: b.send_control({"version": 0, "digest": "x"}), "x")


def test_other_weights_are_refused(certs: Path) -> None:
    a, b = pair(certs)
    with pytest.raises(HandshakeRefused, match="weights"):
        both_greet(a, b, lambda: b.send_control({"version": transport.VERSION, "digest": "y"}), "x")


def test_plain_tcp_is_refused(certs: Path) -> None:
    server = transport.listen("127.0.0.1", 0)
    raw = socket.create_connection(server.getsockname(), 3)
    accepted, _ = server.accept()
    raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(HandshakeRefused):
        transport.accept(accepted, certificates.context(certs, "party0", server=True), 3.0)
    server.close()
