"""The whole life of a blind request, as straight-line calls: authenticate, admit, seal, audit, carry, audit.

The caller sends each party sealed boxes (`POST /v1/mpc/relay`); the gateway carries them and sees ciphertext, padded sizes and times. Key,
policy, limits and the content-free audit hold as for any request. Nothing is scrubbed, restored or noised: there is no text here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from gateway.errors import BadRequest, LlmosError, TooLarge, Unavailable
from gateway.exchange import Api, Json, Received
from gateway.pipeline import Parts
from gateway.ports import BoxLanes
from gateway.stages.admit import admit, take_limits
from gateway.stages.audit import Trail, audit_admission, audit_outcome
from gateway.stages.authenticate import authenticate
from gateway.stages.seal import seal

IDLE_S = 60.0  # how long a caller may owe the next box


class BlindCall(Protocol):
    """One blind request on the wire."""

    request_id: str
    api: Api
    authorization: str | None
    peer: str
    client_is_gone: bool

    async def opening(self) -> tuple[Json, int]:
        """The clear opening and its size in bytes. Raises BadRequest."""
        ...

    async def next_box(self, max_bytes: int) -> tuple[int, bytes] | None:
        """(party, box), or None at the end. Safe to cancel. Raises BadRequest, TooLarge."""
        ...

    async def begin(self, headers: Mapping[str, str]) -> None: ...

    async def deliver_box(self, party: int, box: bytes) -> None: ...

    async def deliver_end(self) -> None: ...


async def serve_blind(call: BlindCall, parts: Parts) -> None:
    """Serve one request. Raises the LlmosError that ended it."""
    trail = Trail(call.request_id, call.api, parts.meter, parts.tracer)
    lease = None
    try:
        with trail.stage("authenticate"):
            trail.principal = await authenticate(call.authorization, call.peer, parts.keys, parts.attempts)
        with trail.stage("read"):
            body, size_bytes = await call.opening()
        received = Received(call.request_id, call.api, trail.principal, body, None, trail.received_unix_s, size_bytes)
        with trail.stage("admit"):
            trail.admitted = await admit(received, parts.policies, parts.catalogue)
            trail.sealed = sealed = seal(trail.admitted)
            if parts.relay is None:
                raise Unavailable("Secret-shared inference is not configured here.")
            allowance_bytes = parts.relay.allowance_bytes(sealed)
            lease = await take_limits(trail.admitted, parts.limits)
        with trail.stage("audit"):
            await audit_admission(trail, parts.audit)
        with trail.stage("infer"):
            async with parts.relay.open(sealed) as lanes:
                await call.begin(lease.headers)
                await _carry(call, lanes, allowance_bytes)
        if call.client_is_gone:
            trail.broken_off(client_is_gone=True)
        else:
            await call.deliver_end()
            trail.served()
    except LlmosError as error:
        trail.failed(error)
        raise
    except asyncio.CancelledError:
        trail.broken_off(call.client_is_gone)
        raise
    finally:
        try:
            if lease is not None and trail.sealed is not None:
                await parts.limits.settle(lease, tokens=trail.sealed.tokens)
        finally:
            await audit_outcome(trail, parts.audit)


async def _carry(call: BlindCall, lanes: BoxLanes, allowance_bytes: int) -> None:
    """Boxes both ways, until the caller ends the request or a party does."""
    owed_by_party = asyncio.Event()

    async def down(party: int) -> None:
        while True:
            box = await lanes.take(party)
            owed_by_party.clear()
            await call.deliver_box(party, box)

    async def up() -> None:
        left = [allowance_bytes, allowance_bytes]
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    came = await call.next_box(max(left))
            except TimeoutError:
                if owed_by_party.is_set():
                    continue
                raise BadRequest(f"No box came for {IDLE_S:.0f} seconds; the request was ended.") from None
            if came is None:
                return
            party, box = came
            left[party] -= len(box)
            if left[party] < 0:
                raise TooLarge("The boxes are more than the announced tokens need.", param="tokens")
            owed_by_party.set()
            await lanes.put(party, box)

    tasks = [asyncio.create_task(up()), asyncio.create_task(down(0)), asyncio.create_task(down(1))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
