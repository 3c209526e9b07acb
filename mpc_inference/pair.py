"""One request at both parties: each party's part of a token out, its share of an answer back.

A `Pair` sends one part down each lane and collects the two answers (caller.py makes and adds them). A lane is an authenticated link
to a party (`Direct`), or a sealed one through a gateway (`mpc_inference.blind`). Whatever a party reports first ends the request at once,
whichever of the two it is. Blocking: the client calls it from worker threads. It does NOT hide how many tokens a request has.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mpc_inference import errors, transport
from mpc_inference.config import Deployment

_LAST_WORD_S = 1.0  # how long a broken lane is asked for the reason


class Lane(Protocol):
    """One request's connection to one party."""

    def send(self, kind: int, payload: bytes) -> None: ...

    def receive(self, kind: int) -> bytearray: ...

    def send_control(self, message: dict[str, Any]) -> None: ...

    def receive_control(self) -> dict[str, Any]: ...


class Lanes(Protocol):
    """Both connections of one request."""

    @property
    def both(self) -> Sequence[Lane]: ...

    def first(self, waiting: Sequence[Lane], timeout_s: float) -> Lane:
        """One of `waiting` that has something to receive. Raises DeadlineExceeded."""
        ...

    def set_deadline(self, timeout_s: float) -> None: ...

    def finish(self) -> None:
        """The request is complete; blocking."""
        ...

    def close(self) -> None:
        """End the request at both parties; a thread that waits on a lane wakes up."""
        ...


def party_link(deployment: Deployment, party: int) -> transport.Link:
    """A greeted link to one party, as the client. Raises PeerUnavailable, HandshakeRefused, DeadlineExceeded."""
    place = deployment.parties[party]
    link = transport.connect(place.host, place.port, deployment.certificates, "client", f"party{party}", deployment.deadline_s)
    try:
        transport.greet(link, deployment.digest)
    except errors.MpcError:
        link.close()
        raise
    return link


class Direct:
    """Mutual TLS from this process to both parties. Raises PeerUnavailable, HandshakeRefused."""

    def __init__(self, deployment: Deployment) -> None:
        self.links: list[transport.Link] = []
        try:
            for party in (0, 1):
                self.links.append(party_link(deployment, party))
        except errors.MpcError:
            self.close()
            raise

    @property
    def both(self) -> Sequence[transport.Link]:
        return self.links

    def first(self, waiting: Sequence[Lane], timeout_s: float) -> Lane:
        return transport.first_readable([link for link in self.links if link in waiting], timeout_s)

    def set_deadline(self, timeout_s: float) -> None:
        for link in self.links:
            link.set_deadline(timeout_s)

    def finish(self) -> None:
        """Closing says it all."""

    def close(self) -> None:
        for link in self.links:
            link.abort()
            link.close()


class Pair:
    """One request over two lanes."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def open(self, prefix: int, tokens: int, temperature: int = 0) -> None:
        """Announce a request of `tokens` tokens after `prefix` public ones, under a fresh name. Raises ProtocolError, Busy."""
        name = secrets.token_hex(16)
        self._tell([{"open": name, "prefix": prefix, "tokens": tokens, "temperature": temperature}] * 2)

    def step(self, rows: int, inputs: tuple[bytes, bytes], deadline_s: float) -> list[bytes]:
        """Both parties' answers to `rows` tokens, of which each gets its part. Raises Busy, ContextTooLong, ProtocolError."""
        until = time.monotonic() + deadline_s
        self._lanes.set_deadline(deadline_s)
        self._tell([{"step": rows}] * 2, inputs)
        answers: dict[int, bytes] = {}
        waiting = list(self._lanes.both)
        while waiting:
            lane = self._lanes.first(waiting, until - time.monotonic())
            waiting.remove(lane)
            _checked(lane.receive_control())
            answers[list(self._lanes.both).index(lane)] = bytes(lane.receive(transport.WORDS))
        return [answers[0], answers[1]]

    def finish(self) -> None:
        """Say that the request is complete."""
        self._lanes.finish()

    def close(self) -> None:
        """End the request; safe from another thread."""
        self._lanes.close()

    def _tell(self, messages: Sequence[dict[str, Any]], words: tuple[bytes, bytes] | None = None) -> None:
        try:
            for index, lane in enumerate(self._lanes.both):
                lane.send_control(messages[index])
                if words is not None:
                    lane.send(transport.WORDS, words[index])
        except errors.PeerUnavailable as error:
            raise self._last_words(error) from error

    def _last_words(self, broken: errors.PeerUnavailable) -> errors.MpcError:
        """Why a party closed its lane, if it said so before it did."""
        self._lanes.set_deadline(_LAST_WORD_S)
        for lane in self._lanes.both:
            try:
                _checked(lane.receive_control())
            except errors.ProtocolError:
                continue
            except errors.MpcError as error:
                return error
        return broken


def _checked(message: Mapping[str, Any]) -> None:
    if "error" in message:
        raise typed(message)


def typed(message: Mapping[str, Any]) -> errors.MpcError:
    """The error that a party reports in a control message."""
    text = str(message.get("message", "the party refused"))
    kind = getattr(errors, str(message.get("error")), errors.ProtocolError)
    if kind is errors.Busy:
        return errors.Busy(text, float(message.get("retry_after_s", 5.0)))
    return kind(text) if isinstance(kind, type) and issubclass(kind, errors.MpcError) else errors.ProtocolError(text)
