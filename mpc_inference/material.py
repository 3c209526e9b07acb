"""A party's store of correlated randomness: filled by the dealer's link, emptied one token at a time.

`take` removes what it answers, so nothing can be used twice; when the link breaks, everything is dropped and every waiter is told.
Memory only. It does NOT bound what the dealer sends: party 0 does, by the limits that it sets.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from mpc_inference import transport
from mpc_inference.errors import DeadlineExceeded, FrameInvalid, ProtocolError, SessionLost
from mpc_inference.native.core import U8


@dataclass
class Session:
    """One session's seed and the rows that have arrived and were not used."""

    name: str
    prefix: int
    seed: bytes = field(repr=False)
    rows: dict[int, U8] = field(default_factory=dict, repr=False)
    arrived: int = 0
    taken: int = 0


class Store:
    """Sessions of one epoch."""

    def __init__(self, link: transport.Link, deadline_s: float) -> None:
        self._link, self._deadline_s = link, deadline_s
        self._changed = threading.Condition()
        self._sessions: dict[str, Session] = {}
        self._spare: list[str] = []
        self._broken: ProtocolError | None = None
        self._thread = threading.Thread(target=self._receive, daemon=True)

    def start(self) -> None:
        """Begin to receive."""
        self._link.set_deadline(None)
        self._thread.start()

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
                                session.rows[position] = row
                                session.arrived += 1
                                self._changed.notify_all()
                    case _:
                        raise FrameInvalid("the dealer sent a message that a party does not know")
        except ProtocolError as error:
            self.fail(error)

    def fail(self, error: ProtocolError) -> None:
        """Drop everything; every `take` and `claim` raises from now on."""
        with self._changed:
            self._broken = self._broken or error
            self._sessions.clear()
            self._spare.clear()
            self._changed.notify_all()

    @property
    def broken(self) -> ProtocolError | None:
        """Why nothing more will come, if so."""
        return self._broken

    def ready_tokens(self, name: str) -> int:
        """Rows that have arrived and were not used."""
        with self._changed:
            session = self._sessions.get(name)
            return len(session.rows) if session else 0

    def spares(self, prefix: int) -> int:
        """Unclaimed sessions for this prefix length."""
        with self._changed:
            return sum(self._sessions[name].prefix == prefix for name in self._spare)

    def spare_tokens(self) -> int:
        """Rows that lie ready in unclaimed sessions."""
        with self._changed:
            return sum(len(self._sessions[name].rows) for name in self._spare)

    def claim(self, prefix: int) -> str:
        """The oldest unclaimed session for this prefix length. Raises SessionLost, DeadlineExceeded."""

        def look() -> str | None:
            return next((n for n in self._spare if self._sessions[n].prefix == prefix), None)

        with self._changed:
            self._wait(lambda: look() is not None, "a session")
            name = look()
            assert name is not None
            self._spare.remove(name)
            return name

    def adopt(self, name: str) -> None:
        """Claim a session by name: what party 1 does on party 0's word."""
        with self._changed:
            self._wait(lambda: name in self._sessions, "a session")
            if name not in self._spare:
                raise SessionLost("a session was claimed twice: nothing of it is used")
            self._spare.remove(name)

    def take(self, name: str, position: int) -> tuple[bytes, int, U8]:
        """Seed, prefix length and the row of one position, which is gone afterwards."""
        with self._changed:
            self._wait(lambda: name not in self._sessions or position in self._sessions[name].rows, "correlated randomness")
            session = self._sessions.get(name)
            if session is None or position != session.prefix + session.taken:
                raise SessionLost("this session's randomness was used or dropped: start the request again")
            session.taken += 1
            return session.seed, session.prefix, session.rows.pop(position)

    def end(self, name: str) -> None:
        """Drop a session with all that is left of it."""
        with self._changed:
            self._sessions.pop(name, None)
            if name in self._spare:
                self._spare.remove(name)

    def _wait(self, ready: object, what: str) -> None:
        assert callable(ready)
        until = time.monotonic() + self._deadline_s
        while self._broken is None and not ready():
            left = until - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                if ready():
                    return
                raise DeadlineExceeded(f"the dealer did not deliver {what} in time: it is slow or down")
        if self._broken is not None:
            raise SessionLost("the dealer's link broke, and its randomness with it: start the request again") from self._broken
