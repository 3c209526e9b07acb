"""Carries sealed boxes to the two MPC parties and back (`gateway.ports.SealedRelay`).

The links are the gateway's own, mutually authenticated; what is in the boxes only the caller and the party know
(`mpc_inference.sealing`). It sees sizes and times, and so does whoever reads this process's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.backends.mpc import MpcServer, translated
from gateway.errors import TooLarge
from gateway.exchange import Sealed
from mpc_inference import errors
from mpc_inference.relay import BoxLink, open_lane
from mpc_inference.sealing import SMALLEST_BOX

_OVERHEAD_BYTES = 8 * SMALLEST_BOX  # handshake, greeting, opening
_BOXES_A_STEP = 2  # what is to come, and its words


class MpcRelay:
    """Relays to the parties of `server`."""

    def __init__(self, server: MpcServer) -> None:
        self._deployment = server.deployment
        self._row_bytes = server.client.row_bytes

    def allowance_bytes(self, sealed: Sealed) -> int:
        """Every token a step of its own, and padding that doubles. Raises TooLarge over the context."""
        if sealed.tokens > self._deployment.context_tokens:
            raise TooLarge(f"The context holds {self._deployment.context_tokens} tokens of prompt and answer together.", param="tokens")
        return _OVERHEAD_BYTES + sealed.tokens * (2 * self._row_bytes + _BOXES_A_STEP * SMALLEST_BOX)

    @asynccontextmanager
    async def open(self, sealed: Sealed) -> AsyncIterator[Lanes]:
        """Links to both parties. Raises UpstreamFailed, UpstreamTimeout."""
        links: list[BoxLink] = []
        try:
            opened = await asyncio.gather(*(open_lane(self._deployment, party) for party in (0, 1)), return_exceptions=True)
            links = [each for each in opened if isinstance(each, BoxLink)]
            for each in opened:
                if isinstance(each, errors.MpcError):
                    raise translated(each)
                if isinstance(each, BaseException):
                    raise each
            yield Lanes(links)
        finally:
            for link in links:
                link.close()


class Lanes:
    """The two links of one request."""

    def __init__(self, links: list[BoxLink]) -> None:
        self._links = links

    async def put(self, party: int, box: bytes) -> None:
        """Raises UpstreamFailed."""
        try:
            await self._links[party].send(box)
        except errors.MpcError as error:
            raise translated(error) from None

    async def take(self, party: int) -> bytes:
        """Raises UpstreamFailed."""
        try:
            return await self._links[party].receive()
        except errors.MpcError as error:
            raise translated(error) from None
