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

import numpy as np

from mpc_inference import transport
from mpc_inference.config import Deployment
from mpc_inference.errors import DeadlineExceeded, FrameInvalid, HandshakeRefused, PeerUnavailable, ProtocolError
from mpc_inference.ledger import Ledger
from mpc_inference.llama.artifact import Artifact
from mpc_inference.llama.on_shares import Row, SharedLlama, tables_digest
from mpc_inference.material import Store
from mpc_inference.native.core import U64, Core
from mpc_inference.requests import Request, Requests

log = logging.getLogger("mpc_inference.party")
IDLE_S = 0.5


@dataclass
class _Epoch:
    peer: transport.Link
    dealer: transport.Link
    store: Store
    engine: SharedLlama
    asked: dict[str, int] = field(default_factory=dict)
    spares_asked: dict[int, int] = field(default_factory=dict)


class Party:
    """One compute party. `serve` runs until `stop`."""

    def __init__(self, deployment: Deployment, party: int, model: Artifact, core: Core) -> None:
        self._deployment, self._party, self._model, self._core = deployment, party, model, core
        self.ledger = Ledger()
        self._stop = threading.Event()
        self._tables = tables_digest(model.shape)
        self._epoch: _Epoch | None = None
        self._epochs = self._passes = self._rows = 0
        self._online_s = 0.0
        self._trouble = "it has just started"
        self._requests = Requests(deployment, party, model.digest, self._tables, len(model.prefix_tokens), model.shape.hidden, self.status)

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
        transport.greet(dealer, self._model.digest)
        dealer.set_deadline(None)
        name = str(dealer.receive_control().get("epoch"))
        peer = self._meet(name)
        links.append(peer)
        peer.set_delay(d.link_delay_s)
        peer.set_deadline(d.deadline_s)
        store = Store(dealer, d.deadline_s)
        engine = SharedLlama(self._core, self._party, self._model, peer.exchange, self.ledger)
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
            until = time.monotonic() + d.deadline_s
            while True:
                try:
                    link = transport.connect(d.parties[0].host, d.parties[0].port, d.certificates, "party1", "party0", d.deadline_s)
                    break
                except PeerUnavailable:
                    if time.monotonic() > until:
                        raise
                    self._stop.wait(0.1)
            self._same_tables(transport.greet(link, self._model.digest, epoch=epoch, tables=self._tables))
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
        if hello.get("tables") != self._tables:
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
        plan = [{"request": r.name, "session": r.session, "new": new, "prefix": r.prefix, "rows": rows} for r, new, rows in chosen]
        epoch.peer.send_control({"plan": plan, "end": [r.session for r in ended if r.session]})
        if epoch.peer.receive_control() != {"go": True}:
            missing = [r for r, _, _ in chosen]  # party 1 has not the client's shares: these requests end, nothing was used
            for request in missing:
                request.answer({"error": "DeadlineExceeded", "message": "party 1 did not receive the client's shares in time"})
                request.closed = True
            return
        if chosen:
            self._pass(epoch, [(r, rows) for r, _, rows in chosen])

    def _choose(self, epoch: _Epoch) -> tuple[list[tuple[Request, bool, int]], list[Request]]:
        """Requests with rows for the next pass, and those that ended. Waits a moment when there is nothing to do."""
        requests, left = self._requests, self._deployment.batch_rows
        chosen: list[tuple[Request, bool, int]] = []
        with requests.changed:
            if not any(r.pending is not None or r.closed for r in requests.by_name.values()):
                requests.changed.wait(IDLE_S)
            ended = [r for r in requests.by_name.values() if r.closed]
            for request in ended:
                del requests.by_name[request.name]
            runnable = sorted((r for r in requests.by_name.values() if r.pending is not None), key=lambda r: len(r.pending))  # type: ignore[arg-type]
        for request in runnable:
            if left == 0:
                break
            assert request.pending is not None
            rows, new = min(left, len(request.pending)), request.session is None
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
            chosen.append((request, new, rows))
            left -= rows
        return chosen, ended

    def _ask_new(self, epoch: _Epoch, prefix: int, limit: int) -> None:
        epoch.dealer.send_control({"new": prefix, "limit": limit})
        epoch.spares_asked[prefix] = epoch.spares_asked.get(prefix, 0) + 1

    def _restock(self, epoch: _Epoch) -> None:
        """One spare session for the usual prefix, dealt ahead."""
        usual = len(self._model.prefix_tokens)
        if epoch.spares_asked.get(usual, 0) == 0:
            self._ask_new(epoch, usual, self._deployment.stock_tokens)

    # ---- party 1 ----------------------------------------------------------------------------------------------

    def _follow(self, epoch: _Epoch) -> None:
        message = epoch.peer.receive_control()
        plan, ended = message.get("plan"), message.get("end")
        if not isinstance(plan, list) or not isinstance(ended, list):
            raise FrameInvalid("party 0 sent no plan")
        for session in ended:
            epoch.store.end(str(session))
        with self._requests.changed:
            gone = [r for r in self._requests.by_name.values() if r.closed]
        for request in gone:
            self._requests.drop(request)
        found = [self._find(item) for item in plan]
        chosen = [r for r in found if r is not None]
        if len(chosen) < len(found):
            epoch.peer.send_control({"go": False})
            return
        epoch.peer.send_control({"go": True})
        ready: list[tuple[Request, int]] = []
        for request, item in zip(chosen, plan, strict=True):
            if item["new"]:
                epoch.store.adopt(str(item["session"]))
                request.session = str(item["session"])
            if request.session != item["session"] or request.prefix != item["prefix"]:
                raise FrameInvalid("the parties disagree about a request")
            ready.append((request, int(item["rows"])))
        if ready:
            self._pass(epoch, ready)

    def _find(self, item: dict[str, object]) -> Request | None:
        """The planned request with its shares here; waits for the client's connection up to a short deadline."""
        until = time.monotonic() + min(5.0, self._deployment.deadline_s)
        with self._requests.changed:
            while True:
                request = self._requests.by_name.get(str(item["request"]))
                if (
                    request is not None
                    and not request.closed
                    and request.pending is not None
                    and len(request.pending) >= int(str(item["rows"]))
                ):
                    return request
                left = until - time.monotonic()
                if left <= 0 or (request is not None and request.closed):
                    return None
                self._requests.changed.wait(left)

    # ---- both -------------------------------------------------------------------------------------------------

    def _pass(self, epoch: _Epoch, chosen: Sequence[tuple[Request, int]]) -> None:
        rows: list[Row] = []
        shares: list[U64] = []
        for request, count in chosen:
            assert request.session is not None
            assert request.pending is not None
            if request.cache is None:
                request.cache = epoch.engine.new_cache()
            for i in range(count):
                seed, prefix, message = epoch.store.take(request.session, request.position + i)
                rows.append(Row(request.cache, seed, request.position + i, prefix, message))
            shares.append(request.pending[:count])
        begin = time.perf_counter()
        out = epoch.engine.forward(rows, np.concatenate(shares))
        self._online_s += time.perf_counter() - begin
        self._passes += 1
        self._rows += len(rows)
        at = 0
        for request, count in chosen:
            assert request.pending is not None
            at += count
            request.position += count
            with self._requests.changed:
                request.pending = request.pending[count:] if len(request.pending) > count else None
            if request.pending is None:
                request.answer({"hidden": request.position}, out[at - 1])
