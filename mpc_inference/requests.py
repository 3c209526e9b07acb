"""The requests that a party holds: what its clients sent, in order, bounded.

A request is one client connection: it opens, sends its part of tokens, receives shares of answers, closes. This module keeps the queue;
it knows no protocol of the parties. Shares are dropped with the request.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mpc_inference import certificates, sealing, transport
from mpc_inference.config import Deployment
from mpc_inference.errors import FrameInvalid, HandshakeRefused, MpcError, ProtocolError
from mpc_inference.llama.answer import TEMPERATURE_FRACTION
from mpc_inference.llama.supply import Cache
from mpc_inference.native.core import U8

log = logging.getLogger("mpc_inference.party")
MAX_TEMPERATURE = 2 << TEMPERATURE_FRACTION


class ClientLane(Protocol):
    """A client's link, or its sealed lane through a gateway."""

    def send(self, kind: int, payload: bytes) -> None: ...

    def receive(self, kind: int) -> bytearray: ...

    def send_control(self, message: dict[str, Any]) -> None: ...

    def receive_control(self) -> dict[str, Any]: ...


@dataclass
class Request:
    """One client's request at one party."""

    name: str
    prefix: int
    tokens: int
    link: ClientLane = field(repr=False)
    temperature: int = 0
    pending: U8 | None = field(default=None, repr=False)
    position: int = 0
    session: str | None = None
    cache: Cache | None = field(default=None, repr=False)
    closed: bool = False
    announced: bool = False  # party 0: that party 1 knows its session
    promised: str | None = None  # party 0: the randomness claimed for its next answer
    missing_since_s: float | None = None  # party 0: since when party 1 lacks the client's part
    retry_at_s: float = 0.0

    def is_due(self, now_s: float) -> bool:
        """Whether its tokens may join the next pass."""
        return self.pending is not None and self.retry_at_s <= now_s

    def answer(self, message: dict[str, object], words: bytes | None = None) -> None:
        """Tell the client; a client that is gone closes the request."""
        try:
            self.link.send_control(message)
            if words is not None:
                self.link.send(transport.WORDS, words)
        except ProtocolError:
            self.closed = True


class Requests:
    """Accepts connections: clients become requests, the other party's link is handed on."""

    def __init__(
        self, deployment: Deployment, party: int, digest: str, tables: str, prefix_tokens: int, row_bytes: int, status: object
    ) -> None:
        self._deployment, self._party, self._digest, self._tables = deployment, party, digest, tables
        self._prefix_tokens, self._row_bytes, self._status = prefix_tokens, row_bytes, status
        self.changed = threading.Condition()
        self.by_name: dict[str, Request] = {}
        self.peers: queue.SimpleQueue[tuple[transport.Link, dict[str, object]]] = queue.SimpleQueue()
        self._server = transport.listen(deployment.bind or deployment.parties[party].host, deployment.parties[party].port)
        self._secret = None if deployment.seal_keys is None else sealing.read_key(deployment.certificates, f"party{party}")
        self.shown: list[str] = []
        self._stopped = False

    def start(self) -> None:
        """Accept in the background."""
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Accept nothing more."""
        self._stopped = True
        self._server.close()

    def fail_all(self, kind: str, message: str) -> None:
        """Tell every client that its request is lost, and forget them."""
        with self.changed:
            lost = list(self.by_name.values())
            self.by_name.clear()
        for request in lost:
            request.closed = True
            request.answer({"error": kind, "message": message})

    def drop(self, request: Request) -> None:
        """Forget one request."""
        with self.changed:
            request.closed = True
            self.by_name.pop(request.name, None)

    def _accept(self) -> None:
        tls = certificates.context(self._deployment.certificates, f"party{self._party}", server=True)
        while not self._stopped:
            try:
                raw, _ = self._server.accept()
            except OSError:
                return  # the listening socket was closed
            threading.Thread(target=self._welcome, args=(raw, tls), daemon=True).start()

    def _welcome(self, raw: socket.socket, tls: object) -> None:
        try:
            link, role = transport.accept(raw, tls, self._deployment.deadline_s)  # type: ignore[arg-type]
            try:
                self._serve(link, role)
            except MpcError:
                link.close()
                raise
        except MpcError as error:
            log.info("connection ended: %s", error)

    def _serve(self, link: transport.Link, role: str) -> None:
        if role == "party1" and self._party == 0:
            self.peers.put((link, transport.greet(link, self._digest, tables=self._tables)))
            return
        if role != "client":
            raise HandshakeRefused(f"{role} has no business here")
        transport.greet(link, self._digest, prefix_tokens=self._prefix_tokens, context_tokens=self._deployment.context_tokens)
        link.set_deadline(None)
        request: Request | None = None
        try:
            first = link.receive_control()
            lane: ClientLane = link
            if first == {"sealed": True}:
                lane = self._unsealed(link)
            else:
                request = self._frame(lane, first, request)
            while True:
                request = self._frame(lane, lane.receive_control(), request)
        finally:
            link.close()
            with self.changed:
                if request is not None:
                    request.closed = True
                self.changed.notify_all()

    def _unsealed(self, link: transport.Link) -> ClientLane:
        """The lane of a blind caller, whose boxes a gateway carries to us."""
        if self._secret is None:
            raise HandshakeRefused("a blind caller came, but this deployment has no `seal_keys`: run `llmos mpc init` again")
        lane = sealing.answer(link, self._party, self._secret, self._digest)
        transport.greet(lane, self._digest)
        return lane

    def _frame(self, link: ClientLane, message: dict[str, object], request: Request | None) -> Request | None:
        match message:
            case {"status": True} if not isinstance(link, sealing.SealedLane):
                assert callable(self._status)
                link.send_control(self._status())
            case {"open": str(name), "prefix": int(prefix), "tokens": int(tokens)} if request is None and len(name) == 32:
                with self.changed:
                    if self._party == 0 and len(self.by_name) >= self._deployment.queue_requests:
                        link.send_control(
                            {"error": "Busy", "message": "the MPC queue is full: come back later", "retry_after_s": 2.0 * len(self.by_name)}
                        )
                        return None
                    if not 1 <= prefix <= self._prefix_tokens or prefix + tokens > self._deployment.context_tokens or name in self.by_name:
                        link.send_control(
                            {
                                "error": "ContextTooLong",
                                "message": f"the context holds {self._deployment.context_tokens} tokens: "
                                f"shorten the prompt or ask for fewer",
                            }
                        )
                        return None
                    request = Request(name, prefix, tokens, link, self._temperature(message), position=prefix)
                    self.by_name[name] = request
                    self.changed.notify_all()
            case {"step": int(rows)} if request is not None and 1 <= rows <= self._deployment.context_tokens:
                words = np.frombuffer(link.receive(transport.WORDS), np.uint8)
                if words.size != rows * self._row_bytes or request.pending is not None:
                    raise FrameInvalid("a client sent shares of another size, or before the last were answered")
                if self._deployment.show_shares:
                    self.shown = [f"{word:016x}" for word in words[: words.size // 8 * 8].view(np.uint64)[:8].tolist()]
                with self.changed:
                    if request.position + rows > request.prefix + request.tokens:
                        raise FrameInvalid("a client sent more tokens than it opened the request for")
                    request.pending = words.reshape(rows, self._row_bytes)
                    self.changed.notify_all()
            case {"close": True}:
                with self.changed:
                    if request is not None:
                        request.closed = True
                    self.changed.notify_all()
                return None
            case _:
                raise FrameInvalid("a client sent a message that a party does not know")
        return request

    @staticmethod
    def _temperature(message: dict[str, object]) -> int:
        """In 1/64; only private weights draw at the parties."""
        given = message.get("temperature", 0)
        if not isinstance(given, int) or not 0 <= given <= MAX_TEMPERATURE:
            raise FrameInvalid("a client sent a temperature out of range")
        return given
