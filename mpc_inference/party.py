"""A compute party's process: it pairs with the dealer and the other party, then runs passes for its clients.

Party 0 leads: it chooses which requests' tokens form the next pass (several requests share its rounds), names them to party 1, and both
compute. An epoch lasts while all links hold; whatever breaks ends it, drops all randomness, fails the running requests with a typed
error, and a new epoch begins by itself. A party sees shares, masked words, sizes and timing, never a token.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mpc_inference import transport
from mpc_inference.config import Deployment
from mpc_inference.errors import DeadlineExceeded, FrameInvalid, HandshakeRefused, PeerUnavailable, ProtocolError
from mpc_inference.ledger import Ledger
from mpc_inference.llama.answer import Bundle
from mpc_inference.llama.arithmetic import Exchange
from mpc_inference.llama.engine import End, Engine
from mpc_inference.llama.supply import Row
from mpc_inference.material import Store
from mpc_inference.native.core import U8
from mpc_inference.requests import Request, Requests

log = logging.getLogger("mpc_inference.party")
IDLE_S = 0.5
FIND_S = 0.005  # how long party 1 holds a plan back for a client's part
RETRY_S = 0.05  # after which party 0 plans it again
MISSING_S = 5.0  # after which it gives the request up


@dataclass
class _Epoch:
    peer: transport.Link
    dealer: transport.Link
    store: Store
    engine: Engine
    asked: dict[str, int] = field(default_factory=dict)
    spares_asked: dict[int, int] = field(default_factory=dict)
    answers_asked: bool = False


class Role(Protocol):
    """What a party computes: a prepared model, whatever its mode."""

    @property
    def digest(self) -> str: ...

    @property
    def tables(self) -> str:
        """A digest of what both parties must compute alike."""
        ...

    @property
    def prefix_tokens(self) -> int: ...

    @property
    def row_bytes(self) -> int: ...

    def engine(self, exchange: Exchange, ledger: Ledger) -> Engine:
        """An engine over a new link."""
        ...


@dataclass(frozen=True)
class _Turn:
    """One request's part of a pass. answer: the name of the randomness for its answer, when it ends one and the weights are private."""

    request: Request
    rows: int
    new: bool
    answer: str | None


class Party:
    """One compute party. `serve` runs until `stop`."""

    def __init__(self, deployment: Deployment, party: int, role: Role) -> None:
        self._deployment, self._party, self._role = deployment, party, role
        self.ledger = Ledger()
        self._stop = threading.Event()
        self._epoch: _Epoch | None = None
        self._epochs = self._passes = self._rows = 0
        self._online_s = 0.0
        self._trouble = "it has just started"
        self._requests = Requests(deployment, party, role.digest, role.tables, role.prefix_tokens, role.row_bytes, self.status)

    def status(self) -> dict[str, object]:
        """Counters without content, for `llmos mpc status`."""
        epoch = self._epoch
        return {
            "party": self._party,
            "ready": epoch is not None,
            "epochs": self._epochs,
            "requests": len(self._requests.by_name),
            "passes": self._passes,
            "tokens": self._rows,
            "rounds": self.ledger.rounds,
            "online_s": round(self._online_s, 3),
            "peer_sent_bytes": epoch.peer.traffic.sent_bytes if epoch else 0,
            "dealer_received_bytes": epoch.dealer.traffic.received_bytes if epoch else 0,
            "ready_tokens": epoch.store.spare_tokens() if epoch else 0,
            "ready_answers": epoch.store.spare_answers() if epoch else 0,
            "opened": dict(self.ledger.opened),
            "opened_bits": dict(self.ledger.bits),
            "trouble": "" if epoch else self._trouble,
            "shown": self._requests.shown,
        }

    def stop(self) -> None:
        """End `serve` soon."""
        self._stop.set()
        self._requests.stop()

    def serve(self) -> None:
        """Run epochs until stopped."""
        self._requests.start()
        while not self._stop.is_set():
            links: list[transport.Link] = []
            try:
                self._run(links)
            except ProtocolError as error:
                if str(error) != self._trouble:
                    log.warning("epoch ended: %s", error)
                self._trouble = str(error)
                kind = type(error).__name__
                self._requests.fail_all(kind, f"the MPC parties lost each other ({error}); send the request again")
            finally:
                if self._epoch is not None:
                    self._epoch.store.fail(PeerUnavailable("the epoch ended"))
                self._epoch = None
                for link in links:
                    link.abort()
                    link.close()
            self._stop.wait(0.1)

    def _run(self, links: list[transport.Link]) -> None:
        d = self._deployment
        dealer = transport.connect(d.dealer.host, d.dealer.port, d.certificates, f"party{self._party}", "dealer", d.deadline_s)
        links.append(dealer)
        transport.greet(dealer, self._role.digest)
        dealer.set_deadline(None)
        name = str(dealer.receive_control().get("epoch"))
        peer = self._meet(name)
        links.append(peer)
        peer.set_delay(d.link_delay_s, d.link_bytes_per_s)
        peer.set_deadline(d.deadline_s)
        engine = self._role.engine(peer.exchange, self.ledger)
        store = Store(dealer, d.deadline_s, engine.work_ahead)
        epoch = _Epoch(peer, dealer, store, engine)
        store.start()
        self._epoch, self._epochs = epoch, self._epochs + 1
        log.info("party %d is ready", self._party)
        while not self._stop.is_set():
            (self._lead if self._party == 0 else self._follow)(epoch)

    def _meet(self, epoch: str) -> transport.Link:
        """The link to the other party of the same epoch."""
        d = self._deployment
        if self._party == 1:
            place = d.parties[0]
            link = transport.connect_patiently(place.host, place.port, d.certificates, "party1", "party0", d.deadline_s)
            self._same_tables(transport.greet(link, self._role.digest, epoch=epoch, tables=self._role.tables))
            if link.receive_control() != {"epoch": epoch}:
                raise HandshakeRefused("the parties stand in different epochs; trying again")
            return link
        until = time.monotonic() + d.deadline_s
        while time.monotonic() < until and not self._stop.is_set():
            try:
                link, hello = self._requests.peers.get(timeout=0.2)
            except queue.Empty:
                continue
            self._same_tables(hello)
            link.send_control({"epoch": epoch})
            if hello.get("epoch") == epoch:
                return link
            link.close()
        raise DeadlineExceeded("party 1 did not connect in time")

    def _same_tables(self, hello: dict[str, object]) -> None:
        if hello.get("tables") != self._role.tables:
            raise HandshakeRefused("the parties computed different public tables: install the same release on both")

    # ---- party 0 ----------------------------------------------------------------------------------------------

    def _lead(self, epoch: _Epoch) -> None:
        chosen, ended = self._choose(epoch)
        for request in ended:
            if request.session is not None:
                epoch.store.end(request.session)
                epoch.dealer.send_control({"end": request.session})
        self._restock(epoch)
        if epoch.store.broken is not None:
            raise epoch.store.broken
        plan = [
            {
                "request": t.request.name,
                "session": t.request.session,
                "new": t.new,
                "prefix": t.request.prefix,
                "rows": t.rows,
                "answer": t.answer,
                "temperature": t.request.temperature,
            }
            for t in chosen
        ]
        drop = [r.promised for r in ended if r.promised is not None]
        for name in drop:
            epoch.store.drop_answer(name)
        epoch.peer.send_control({"plan": plan, "end": [r.session for r in ended if r.session], "drop": drop})
        reply = epoch.peer.receive_control()
        if reply != {"go": True}:
            self._put_off([t.request for t in chosen], reply)
            return
        for turn in chosen:
            turn.request.announced, turn.request.missing_since_s, turn.request.promised = True, None, None
        if chosen:
            self._pass(epoch, chosen)

    def _put_off(self, chosen: Sequence[Request], reply: dict[str, object]) -> None:
        """Party 1 lacks a client's part, or was told something else: only such requests wait or end, and nothing was used."""
        missing, refused, now_s = reply.get("missing"), reply.get("refused"), time.monotonic()
        if not isinstance(missing, list) or not isinstance(refused, list):
            raise FrameInvalid("party 1 did not answer a plan")
        for request in chosen:
            if request.name in refused:
                request.answer({"error": "FrameInvalid", "message": "the client told the two parties different things"})
                request.closed = True
            elif request.name in missing:
                request.missing_since_s = request.missing_since_s or now_s
                request.retry_at_s = now_s + RETRY_S
                if now_s - request.missing_since_s > min(MISSING_S, self._deployment.deadline_s):
                    request.answer({"error": "DeadlineExceeded", "message": "party 1 did not receive the client's shares in time"})
                    request.closed = True

    def _choose(self, epoch: _Epoch) -> tuple[list[_Turn], list[Request]]:
        """Requests with rows for the next pass, and those that ended. Waits a moment when there is nothing to do."""
        requests, left = self._requests, self._deployment.batch_rows
        chosen: list[_Turn] = []
        with requests.changed:
            if not any(r.closed or r.is_due(time.monotonic()) for r in requests.by_name.values()):
                requests.changed.wait(RETRY_S if any(r.pending is not None for r in requests.by_name.values()) else IDLE_S)
            ended = [r for r in requests.by_name.values() if r.closed]
            for request in ended:
                del requests.by_name[request.name]
            due = [r for r in requests.by_name.values() if r.is_due(time.monotonic())]
            runnable = sorted(due, key=lambda r: 0 if r.pending is None else len(r.pending))
        for request in runnable:
            if left == 0:
                break
            assert request.pending is not None
            rows, new = min(left, len(request.pending)), not request.announced
            if request.session is None:
                if epoch.store.spares(request.prefix) == 0:
                    self._ask_new(epoch, request.prefix, rows)
                request.session = epoch.store.claim(request.prefix)
                epoch.asked[request.session] = 0
                epoch.spares_asked[request.prefix] = max(0, epoch.spares_asked.get(request.prefix, 0) - 1)
            limit = min(request.position + len(request.pending) + self._deployment.ahead_tokens, request.prefix + request.tokens)
            if epoch.asked[request.session] < limit:
                epoch.asked[request.session] = limit
                epoch.dealer.send_control({"more": request.session, "limit": limit})
            if epoch.engine.needs_bundles and rows == len(request.pending) and request.promised is None:
                request.promised = epoch.store.claim_answer()
                epoch.dealer.send_control({"answers": 1})
            chosen.append(_Turn(request, rows, new, request.promised if rows == len(request.pending) else None))
            left -= rows
        return chosen, ended

    def _ask_new(self, epoch: _Epoch, prefix: int, limit: int) -> None:
        epoch.dealer.send_control({"new": prefix, "limit": limit})
        epoch.spares_asked[prefix] = epoch.spares_asked.get(prefix, 0) + 1

    def _restock(self, epoch: _Epoch) -> None:
        """One spare session for the usual prefix and a few answers, dealt ahead."""
        usual = self._role.prefix_tokens
        if epoch.spares_asked.get(usual, 0) == 0:
            self._ask_new(epoch, usual, self._deployment.stock_tokens)
        if epoch.engine.needs_bundles and not epoch.answers_asked:
            epoch.dealer.send_control({"answers": self._deployment.stock_answers})
            epoch.answers_asked = True

    # ---- party 1 ----------------------------------------------------------------------------------------------

    def _follow(self, epoch: _Epoch) -> None:
        message = epoch.peer.receive_control()
        plan, ended, drop = message.get("plan"), message.get("end"), message.get("drop")
        if not isinstance(plan, list) or not isinstance(ended, list) or not isinstance(drop, list):
            raise FrameInvalid("party 0 sent no plan")
        for session in ended:
            epoch.store.end(str(session))
        for name in drop:
            epoch.store.drop_answer(str(name))
        with self._requests.changed:
            gone = [r for r in self._requests.by_name.values() if r.closed]
        for old in gone:
            self._requests.drop(old)
        found = [self._find(item) for item in plan]
        refused = [item["request"] for item, request in zip(plan, found, strict=True) if request is not None and not _agrees(request, item)]
        missing = [item["request"] for item, request in zip(plan, found, strict=True) if request is None]
        if refused or missing:
            epoch.peer.send_control({"refused": refused, "missing": missing})
            return
        epoch.peer.send_control({"go": True})
        ready: list[_Turn] = []
        for item, request in zip(plan, found, strict=True):
            assert request is not None
            if item["new"]:
                epoch.store.adopt(str(item["session"]))
                request.session = str(item["session"])
            if request.session != item["session"]:
                raise FrameInvalid("the parties disagree about a session")
            answer = item["answer"]
            ready.append(_Turn(request, int(item["rows"]), bool(item["new"]), None if answer is None else str(answer)))
        if ready:
            self._pass(epoch, ready)

    def _find(self, item: dict[str, object]) -> Request | None:
        """The planned request with the client's part here; waits a moment, since the client tells party 0 first."""
        until = time.monotonic() + FIND_S
        with self._requests.changed:
            while True:
                request = self._requests.by_name.get(str(item["request"]))
                if request is not None and not request.closed and request.pending is not None:
                    return request
                left = until - time.monotonic()
                if left <= 0 or (request is not None and request.closed):
                    return None
                self._requests.changed.wait(left)

    # ---- both -------------------------------------------------------------------------------------------------

    def _pass(self, epoch: _Epoch, turns: Sequence[_Turn]) -> None:
        rows: list[Row] = []
        inputs: list[U8] = []
        ends: list[End] = []
        answered: list[Request] = []
        for turn in turns:
            request = turn.request
            assert request.session is not None
            assert request.pending is not None
            if request.cache is None:
                request.cache = epoch.engine.new_cache(request.prefix)
            for i in range(turn.rows):
                seed, prefix, ready = epoch.store.take(request.session, request.position + i)
                public = epoch.engine.public_rows(prefix)
                rows.append(Row(request.cache, seed, request.position + i, public, ready.message, ready.products))
            inputs.append(request.pending[: turn.rows])
            if turn.rows == len(request.pending):
                bundle: Bundle | None = epoch.store.take_answer(turn.answer) if turn.answer is not None else None
                ends.append(End(len(rows) - 1, request.temperature, bundle))
                answered.append(request)
        begin = time.perf_counter()
        out = epoch.engine.run(rows, np.concatenate(inputs), ends)
        self._online_s += time.perf_counter() - begin
        self._passes += 1
        self._rows += len(rows)
        for turn in turns:
            request = turn.request
            assert request.pending is not None
            request.position += turn.rows
            with self._requests.changed:
                request.pending = request.pending[turn.rows :] if len(request.pending) > turn.rows else None
        for request, words in zip(answered, out, strict=True):
            request.answer({"answer": request.position}, words)


def _agrees(request: Request, item: dict[str, object]) -> bool:
    """Whether the client told this party what it told party 0."""
    known = request.pending is not None and len(request.pending) >= int(str(item["rows"]))
    return known and (request.prefix, request.temperature) == (item["prefix"], item["temperature"])
