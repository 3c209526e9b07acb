"""A party's store of correlated randomness: filled by the dealer's link, emptied one token or one answer at a time.

`take` and `take_answer` remove what they answer, so nothing can be used twice; when the link breaks, everything is dropped and every
waiter is told. What a party can compute from randomness alone is computed here, before a token needs it. Memory only. It does NOT bound
what the dealer sends: party 0 does, by the limits that it sets.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from mpc_inference import transport
from mpc_inference.errors import DeadlineExceeded, FrameInvalid, ProtocolError, SessionLost
from mpc_inference.llama.answer import Bundle
from mpc_inference.llama.engine import Dealt
from mpc_inference.llama.supply import Products
from mpc_inference.native.core import U8

log = logging.getLogger("mpc_inference.party")
_T = TypeVar("_T")
AT_ONCE = 8  # tokens whose work ahead is done together


@dataclass
class Ready:
    """One token's message and what was computed ahead."""

    message: U8 = field(repr=False)
    products: Products = field(repr=False)


@dataclass
class Session:
    """One session's seed and the rows that have arrived and were not used."""

    name: str
    prefix: int
    seed: bytes = field(repr=False)
    rows: dict[int, Ready] = field(default_factory=dict, repr=False)
    arrived: int = 0
    taken: int = 0


class Store:
    """Sessions and answers of one epoch."""

    def __init__(self, link: transport.Link, deadline_s: float, work_ahead: Callable[[Sequence[Dealt]], Sequence[Products]]) -> None:
        self._link, self._deadline_s, self._work_ahead = link, deadline_s, work_ahead
        self._changed = threading.Condition()
        self._sessions: dict[str, Session] = {}
        self._spare: list[str] = []
        self._answers: dict[str, Bundle] = {}
        self._unclaimed: list[str] = []
        self._unwanted: set[str] = set()
        self._raw: list[tuple[str, Dealt]] = []
        self._broken: ProtocolError | None = None

    def start(self) -> None:
        """Begin to receive."""
        self._link.set_deadline(None)
        for work in (self._receive, self._prepare):
            threading.Thread(target=work, daemon=True).start()

    def _receive(self) -> None:
        try:
            while True:
                message = self._link.receive_control()
                match message:
                    case {"session": str(name), "prefix": int(prefix), "seed": str(seed)}:
                        with self._changed:
                            self._sessions[name] = Session(name, prefix, bytes.fromhex(seed))
                            self._spare.append(name)
                            self._changed.notify_all()
                    case {"row": str(name), "position": int(position)}:
                        row = np.frombuffer(self._link.receive(transport.WORDS), np.uint8)
                        with self._changed:
                            session = self._sessions.get(name)
                            if session is not None:
                                if position != session.prefix + session.arrived:
                                    raise FrameInvalid("the dealer sent randomness out of order")
                                session.arrived += 1
                                self._raw.append((name, Dealt(session.seed, position, row)))
                                self._changed.notify_all()
                    case {"answer": str(name), "seed": str(seed)}:
                        row = np.frombuffer(self._link.receive(transport.WORDS), np.uint8)
                        with self._changed:
                            self._raw.append((name, Dealt(bytes.fromhex(seed), None, row)))
                            self._changed.notify_all()
                    case _:
                        raise FrameInvalid("the dealer sent a message that a party does not know")
        except ProtocolError as error:
            self.fail(error)

    def _prepare(self) -> None:
        """Work ahead on what has arrived, several tokens together."""
        while True:
            with self._changed:
                while not self._raw and self._broken is None:
                    self._changed.wait()
                if self._broken is not None:
                    return
                batch, self._raw = self._raw[:AT_ONCE], self._raw[AT_ONCE:]
            try:
                done = self._work_ahead([dealt for _, dealt in batch])
            except Exception:  # a message of another size, or no memory: nobody else would hear of it
                log.exception("the work ahead failed")
                self.fail(FrameInvalid("the dealer's randomness could not be used"))
                return
            with self._changed:
                for (name, dealt), products in zip(batch, done, strict=True):
                    if self._broken is not None:
                        return
                    session = self._sessions.get(name)
                    if name in self._unwanted:
                        self._unwanted.remove(name)
                    elif dealt.position is None:
                        self._answers[name] = Bundle(dealt.seed, dealt.message, products)
                        self._unclaimed.append(name)
                    elif session is not None:
                        session.rows[dealt.position] = Ready(dealt.message, products)
                self._changed.notify_all()

    def fail(self, error: ProtocolError) -> None:
        """Drop everything; every `take` and `claim` raises from now on."""
        with self._changed:
            self._broken = self._broken or error
            for kept in (self._sessions, self._spare, self._answers, self._unclaimed, self._unwanted, self._raw):
                kept.clear()
            self._changed.notify_all()

    @property
    def broken(self) -> ProtocolError | None:
        """Why nothing more will come, if so."""
        return self._broken

    def spares(self, prefix: int) -> int:
        """Unclaimed sessions for this prefix length."""
        with self._changed:
            return sum(self._sessions[name].prefix == prefix for name in self._spare)

    def spare_tokens(self) -> int:
        """Rows that lie ready in unclaimed sessions."""
        with self._changed:
            return sum(len(self._sessions[name].rows) for name in self._spare)

    def spare_answers(self) -> int:
        """Answers that lie ready."""
        with self._changed:
            return len(self._unclaimed)

    def claim(self, prefix: int) -> str:
        """The oldest unclaimed session for this prefix length. Raises SessionLost, DeadlineExceeded."""

        def look() -> str | None:
            return next((n for n in self._spare if self._sessions[n].prefix == prefix), None)

        with self._changed:
            name = self._wait(look, "a session")
            self._spare.remove(name)
            return name

    def adopt(self, name: str) -> None:
        """Claim a session by name: what party 1 does on party 0's word."""
        with self._changed:
            self._wait(lambda: self._sessions.get(name), "a session")
            if name not in self._spare:
                raise SessionLost("a session was claimed twice: nothing of it is used")
            self._spare.remove(name)

    def take(self, name: str, position: int) -> tuple[bytes, int, Ready]:
        """Seed, prefix length and the row of one position, which is gone afterwards."""
        with self._changed:
            self._wait(lambda: name not in self._sessions or position in self._sessions[name].rows or None, "correlated randomness")
            session = self._sessions.get(name)
            if session is None or position != session.prefix + session.taken:
                raise SessionLost("this session's randomness was used or dropped: start the request again")
            session.taken += 1
            return session.seed, session.prefix, session.rows.pop(position)

    def claim_answer(self) -> str:
        """The oldest unclaimed answer. Raises SessionLost, DeadlineExceeded."""
        with self._changed:
            self._wait(lambda: self._unclaimed or None, "an answer's randomness")
            return self._unclaimed.pop(0)

    def take_answer(self, name: str) -> Bundle:
        """The randomness of one answer, which is gone afterwards."""
        with self._changed:
            bundle = self._wait(lambda: self._answers.get(name), "an answer's randomness")
            del self._answers[name]
            if name in self._unclaimed:
                self._unclaimed.remove(name)
            return bundle

    def drop_answer(self, name: str) -> None:
        """Forget the randomness of an answer that nobody waits for any more, here or still on its way."""
        with self._changed:
            if self._answers.pop(name, None) is None:
                self._unwanted.add(name)
            if name in self._unclaimed:
                self._unclaimed.remove(name)

    def end(self, name: str) -> None:
        """Drop a session with all that is left of it."""
        with self._changed:
            self._sessions.pop(name, None)
            if name in self._spare:
                self._spare.remove(name)

    def _wait(self, look: Callable[[], _T | None], what: str) -> _T:
        """What `look` finds, as soon as it finds something."""
        until = time.monotonic() + self._deadline_s
        while self._broken is None:
            found = look()
            if found is not None:
                return found
            left = until - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(f"the dealer did not deliver {what} in time: it is slow or down")
            self._changed.wait(left)
        raise SessionLost("the dealer's link broke, and its randomness with it: start the request again") from self._broken
