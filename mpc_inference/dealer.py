"""The dealer process: correlated randomness for both parties, made ahead of time.

It connects two parties into an epoch, opens sessions on party 0's word, and streams one token's randomness after another up to the limit
that party 0 set. Seeds come from the operating system and live in memory only: whatever ends an epoch ends its sessions, so nothing is
ever dealt twice. It sees no input and no output; it must not work together with a party.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
from dataclasses import dataclass

from mpc_inference import certificates, prg, transport
from mpc_inference.config import Deployment
from mpc_inference.errors import FrameInvalid, HandshakeRefused, MpcError, ProtocolError
from mpc_inference.llama.dealing import Messages, Recipe, SessionDealing

log = logging.getLogger("mpc_inference.dealer")
MAX_SESSIONS = 64
MAX_ANSWERS = 64


@dataclass
class _Session:
    name: str
    limit: int
    dealing: SessionDealing
    running: bool = False


class Dealer:
    """Serves one pair of parties at a time until `stop`."""

    def __init__(self, deployment: Deployment, recipe: Recipe) -> None:
        self._deployment, self._recipe = deployment, recipe
        self._stop = threading.Event()
        self._server: socket.socket | None = None
        self._answers_due = 0
        self._waiting: queue.SimpleQueue[tuple[transport.Link, str]] = queue.SimpleQueue()

    def serve(self) -> None:
        """Accept parties and deal until stopped. Raises PeerUnavailable when the port is taken."""
        self._server = transport.listen(self._deployment.bind or self._deployment.dealer.host, self._deployment.dealer.port)
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()
        links: dict[str, transport.Link] = {}
        while not self._stop.is_set():
            try:
                link, role = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            old = links.pop(role, None)
            if old is not None:
                old.close()
            links[role] = link
            if len(links) == 2:
                both = (links.pop("party0"), links.pop("party1"))
                try:
                    self._epoch(both)
                except ProtocolError as error:
                    log.warning("epoch ended: %s", error)
                finally:
                    for one in both:
                        one.abort()
                        one.close()

    def stop(self) -> None:
        """End `serve` soon."""
        self._stop.set()
        if self._server is not None:
            self._server.close()

    def _accept(self, server: socket.socket) -> None:
        tls = certificates.context(self._deployment.certificates, "dealer", server=True)
        while not self._stop.is_set():
            try:
                raw, _ = server.accept()
            except OSError:
                return  # the listening socket was closed
            threading.Thread(target=self._welcome, args=(raw, tls), daemon=True).start()

    def _welcome(self, raw: socket.socket, tls: object) -> None:
        try:
            link, role = transport.accept(raw, tls, self._deployment.deadline_s)  # type: ignore[arg-type]
            try:
                if role not in ("party0", "party1"):
                    raise HandshakeRefused(f"{role} has no business with the dealer")
                transport.greet(link, self._recipe.digest)
            except MpcError:
                link.close()
                raise
            self._waiting.put((link, role))
        except MpcError as error:
            log.warning("connection refused: %s", error)

    def _epoch(self, links: tuple[transport.Link, transport.Link]) -> None:
        epoch = prg.new_seed().hex()
        for link in links:
            link.send_control({"epoch": epoch})
            link.set_deadline(None)
        commands: queue.SimpleQueue[dict[str, object] | ProtocolError] = queue.SimpleQueue()
        for link in links:
            threading.Thread(target=self._listen, args=(link, commands), daemon=True).start()
        sessions: dict[str, _Session] = {}
        self._answers_due = 0
        while not self._stop.is_set():
            due = [s for s in sessions.values() if s.dealing.position < s.limit]
            try:
                command = commands.get_nowait() if due or self._answers_due else commands.get(timeout=0.5)
            except queue.Empty:
                if self._answers_due and not any(s.running for s in due):
                    self._deal_answer(links)
                elif due:
                    self._deal(links, min(due, key=lambda s: (not s.running, s.dealing.position)))
                continue
            if isinstance(command, ProtocolError):
                raise command
            self._obey(links, sessions, command)

    def _listen(self, link: transport.Link, commands: queue.SimpleQueue[dict[str, object] | ProtocolError]) -> None:
        try:
            while True:
                commands.put(link.receive_control())
        except ProtocolError as error:
            commands.put(error)

    def _obey(self, links: tuple[transport.Link, transport.Link], sessions: dict[str, _Session], command: dict[str, object]) -> None:
        match command:
            case {"new": int(prefix), "limit": int(limit)}:
                if len(sessions) >= MAX_SESSIONS or not 1 <= prefix <= len(self._recipe.prefix_tokens):
                    raise FrameInvalid("a party asked for a session that cannot be")
                name = prg.new_seed().hex()
                seeds = (prg.new_seed(), prg.new_seed())
                limit = prefix + min(limit, self._deployment.stock_tokens)
                sessions[name] = _Session(name, limit, SessionDealing(self._recipe, prefix, seeds))
                for link, seed in zip(links, seeds, strict=True):
                    link.send_control({"session": name, "prefix": prefix, "seed": seed.hex()})
            case {"more": str(name), "limit": int(limit)} if name in sessions:
                sessions[name].limit = min(limit, self._deployment.context_tokens)
                sessions[name].running = True
            case {"answers": int(count)} if self._recipe.correlate is not None and 0 < count <= MAX_ANSWERS - self._answers_due:
                self._answers_due += count
            case {"end": str(name)}:
                sessions.pop(name, None)
            case _:
                raise FrameInvalid("a party sent a command that the dealer does not know")

    def _deal(self, links: tuple[transport.Link, transport.Link], session: _Session) -> None:
        position = session.dealing.position
        self._send(links, [{"row": session.name, "position": position}] * 2, session.dealing.next())

    def _deal_answer(self, links: tuple[transport.Link, transport.Link]) -> None:
        self._answers_due -= 1
        name, seeds = prg.new_seed().hex(), (prg.new_seed(), prg.new_seed())
        self._send(links, [{"answer": name, "seed": seed.hex()} for seed in seeds], self._recipe.answer(seeds))

    @staticmethod
    def _send(links: tuple[transport.Link, transport.Link], heads: list[dict[str, object]], messages: Messages) -> None:
        for link, head, message in zip(links, heads, messages, strict=True):
            link.send_control(head)
            link.send(transport.WORDS, message)
