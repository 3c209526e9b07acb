"""Blind use: a caller shares by itself and sends each party sealed boxes through a gateway, which can open none.

One `POST …/v1/mpc/relay` is one request: its body and its answer are both streams of frames (lane, length, box), lane 0 and 1 for the
parties, lane 2 for the clear opening and for the gateway's errors. A proxy between must pass both on as they come. The gateway learns the
model's name, the size of the request rounded up to 64 tokens, and the number, the padded sizes and the times of the boxes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from mpc_inference import errors, sealing, transport
from mpc_inference.client import Client
from mpc_inference.config import BlindTerms
from mpc_inference.pair import Lane

CONTENT_TYPE = "application/vnd.llmos.sealed"
OPENING = 2
TOKENS_BUCKET = 64
_FRAME = struct.Struct("!BI")
_FINISH_S = 5.0
_FOREVER_S = 3600.0


def blind_client(terms: BlindTerms, gateway_url: str, key: str, model: str) -> Client:
    """A client whose every request goes through the gateway at `gateway_url` (…/v1). Raises ModelUnsupported."""
    return Client(terms, lambda tokens: Relayed(terms, gateway_url, key, model, tokens))


class _Carrier:
    """One party's boxes on the shared connection."""

    def __init__(self, relayed: Relayed, lane: int) -> None:
        self._relayed, self._lane = relayed, lane

    def send(self, kind: int, payload: bytes) -> None:
        self._relayed.put(self._lane, payload)

    def receive(self, kind: int) -> bytearray:
        return self._relayed.take(self._lane)

    def set_deadline(self, timeout_s: float | None) -> None:
        self._relayed.set_deadline(timeout_s or _FOREVER_S)

    def close(self) -> None:
        self._relayed.close()


class Relayed:
    """Both sealed lanes of one request.

    Raises PeerUnavailable, DeadlineExceeded, Busy, GatewayRefused, FrameInvalid for a party that does not prove its key.
    """

    def __init__(self, terms: BlindTerms, gateway_url: str, key: str, model: str, tokens: int) -> None:
        url = urlsplit(gateway_url)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._http = kind(url.hostname or "", url.port, timeout=terms.deadline_s)
        self._timeout_s = terms.deadline_s
        self._arrived: tuple[deque[bytearray], deque[bytearray]] = (deque(), deque())
        self._response: http.client.HTTPResponse | None = None
        try:
            try:
                self._http.putrequest("POST", url.path.rstrip("/") + "/mpc/relay", skip_accept_encoding=True)
                for name, value in (("Authorization", f"Bearer {key}"), ("Content-Type", CONTENT_TYPE), ("Transfer-Encoding", "chunked")):
                    self._http.putheader(name, value)
                self._http.endheaders()
            except OSError as error:
                raise errors.PeerUnavailable(f"the gateway at {gateway_url} does not answer: start it, or check the address") from error
            self._socket: socket.socket = self._http.sock
            bucket = min(-(-tokens // TOKENS_BUCKET) * TOKENS_BUCKET, terms.context_tokens)
            self.put(OPENING, json.dumps({"model": model, "tokens": bucket}).encode())
            self._begin()
            self._lanes = [
                sealing.call(_Carrier(self, party), party, bytes.fromhex(terms.seal_keys[party]), terms.digest) for party in (0, 1)
            ]
            for lane in self._lanes:
                transport.greet(lane, terms.digest)
        except errors.MpcError:
            self.close()
            raise

    @property
    def both(self) -> Sequence[sealing.SealedLane]:
        return self._lanes

    def first(self, waiting: Sequence[Lane], timeout_s: float) -> Lane:
        """The lane of the next box. Raises DeadlineExceeded, PeerUnavailable, and what the gateway reports."""
        wanted = [party for party in (0, 1) if self._lanes[party] in waiting]
        until = time.monotonic() + timeout_s
        while not any(self._arrived[party] for party in wanted):
            self.set_deadline(max(0.001, until - time.monotonic()))
            self._read_frame()
        return self._lanes[next(party for party in wanted if self._arrived[party])]

    def set_deadline(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def put(self, lane: int, payload: bytes) -> None:
        """Send one frame as one chunk of the body."""
        frame = _FRAME.pack(lane, len(payload)) + payload
        with self._failing():
            self._socket.sendall(b"%x\r\n" % len(frame) + frame + b"\r\n")

    def take(self, lane: int) -> bytearray:
        """The next box of a lane."""
        while not self._arrived[lane]:
            self._read_frame()
        return self._arrived[lane].popleft()

    def finish(self) -> None:
        """Tell the gateway that the request is complete, and wait until it has noted that."""
        self._timeout_s = _FINISH_S
        with contextlib.suppress(errors.MpcError), self._failing():
            self._socket.sendall(b"0\r\n\r\n")
            while self._response is not None and self._response.read(1 << 16):
                continue

    def close(self) -> None:
        """Break the connection, under a thread that waits on it too."""
        if hasattr(self, "_socket"):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            self._socket.close()
        self._http.close()

    def _begin(self) -> None:
        with self._failing():
            self._response = self._http.getresponse()
            if self._response.status != http.client.OK:
                body, retry = self._response.read(), self._response.headers.get("retry-after")
                raise _refusal(body, retry)

    def _read_frame(self) -> None:
        with self._failing():
            lane, length = _FRAME.unpack(self._read(_FRAME.size))
            if lane > OPENING or length > sealing.LARGEST_BOX:
                raise errors.FrameInvalid("the gateway sent something that is no frame")
            payload = self._read(length)
        if lane == OPENING:
            raise _refusal(bytes(payload), None)
        self._arrived[lane].append(payload)

    def _read(self, count: int) -> bytearray:
        out = bytearray()
        while len(out) < count:
            assert self._response is not None
            piece = self._response.read(count - len(out))
            if not piece:
                raise errors.PeerUnavailable("the gateway ended the request")
            out += piece
        return out

    @contextlib.contextmanager
    def _failing(self) -> Any:
        try:
            self._socket.settimeout(self._timeout_s)
            yield
        except TimeoutError as error:
            raise errors.DeadlineExceeded("no box arrived in time") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise errors.PeerUnavailable("the connection to the gateway broke") from error


def _refusal(body: bytes, retry_after: str | None) -> errors.MpcError:
    """The gateway's own error, in OpenAI's form."""
    try:
        error = json.loads(body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return errors.PeerUnavailable("the gateway answered with something that is not of OpenAI's form")
    if code in ("unavailable", "rate_limit_exceeded"):
        return errors.Busy(message, float(retry_after) if retry_after and retry_after.isdigit() else 1.0)
    if code in ("upstream_failed", "upstream_timeout"):
        return errors.PeerUnavailable(message)
    return errors.GatewayRefused(f"{message} ({code})")
