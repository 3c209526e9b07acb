"""The whole life of a request, as straight-line calls.

`gateway.http` brings a `Call`, which can read the body and takes the answer; `gateway.app` brings the `Parts`. Between them stand eight
stages, in the order in which they run. Whatever happens, the audit's outcome record is written at the end. Nothing here protects by
itself: each stage says what it does and does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.dp.ledger import PrivacyLedger
from gateway.dp.loss import Tally
from gateway.errors import LlmosError
from gateway.exchange import Api, Json, Received, Released, Target
from gateway.ports import (
    Attempts,
    AuditLog,
    Backend,
    Detector,
    KeyStore,
    Meter,
    ModelCatalogue,
    PolicyStore,
    PrivateServer,
    Pseudonyms,
    SealedRelay,
    Tracer,
    UseLimits,
)
from gateway.stages.admit import admit, estimated_tokens, reserve_privacy, take_limits
from gateway.stages.audit import Trail, audit_admission, audit_outcome
from gateway.stages.authenticate import authenticate
from gateway.stages.infer import infer
from gateway.stages.noise import noise
from gateway.stages.restore import restore
from gateway.stages.route import route
from gateway.stages.scrub import Bounds, scrub


@dataclass(frozen=True, slots=True)
class Parts:
    """What the stages work with."""

    keys: KeyStore
    attempts: Attempts
    policies: PolicyStore
    catalogue: ModelCatalogue
    detector: Detector
    pseudonyms: Pseudonyms
    backends: Mapping[Target, Backend]
    private_server: PrivateServer
    limits: UseLimits[Any]
    ledger: PrivacyLedger
    audit: AuditLog
    meter: Meter
    bounds: Bounds
    conversation_key: bytes = field(repr=False)
    salt_key: bytes | None = field(repr=False)
    relay: SealedRelay | None = None  # where secret-shared inference is configured
    tracer: Tracer | None = None


class Call(Protocol):
    """One request on the wire."""

    request_id: str
    api: Api
    authorization: str | None
    peer: str  # the network address; it is counted under a keyed hash and never written down
    conversation: str | None
    client_is_gone: bool

    async def body(self) -> tuple[Json, int]:
        """Read and parse the body within the limits; also its size in bytes. Raises BadRequest or TooLarge."""
        ...

    def goes_upstream(self, body: Json) -> None:
        """Told what the model is sent."""
        ...

    async def deliver_whole(self, body: Json, headers: Mapping[str, str]) -> None: ...

    async def deliver_event(self, event: Json, headers: Mapping[str, str]) -> None:
        """Hand one event over. Returns when the client's connection has room for more."""
        ...

    async def deliver_end(self) -> None: ...


async def serve(call: Call, parts: Parts) -> None:
    """Serve one request. Raises the LlmosError that ended it; CancelledError passes through after the audit."""
    trail = Trail(call.request_id, call.api, parts.meter, parts.tracer)
    lease, charge, filters = None, None, None
    try:
        with trail.stage("authenticate"):
            trail.principal = await authenticate(call.authorization, call.peer, parts.keys, parts.attempts)
        with trail.stage("read"):
            body, size_bytes = await call.body()
        received = Received(call.request_id, call.api, trail.principal, body, call.conversation, trail.received_unix_s, size_bytes)
        with trail.stage("admit"):
            trail.admitted = admitted = await admit(received, parts.policies, parts.catalogue)
            lease = await take_limits(admitted, parts.limits)
            admitted, charge = await reserve_privacy(admitted, parts.ledger, parts.private_server)
            trail.spent = None if charge is None else charge.spent
        with trail.stage("scrub"):
            scrubbed = await scrub(admitted, parts.detector, parts.pseudonyms, parts.conversation_key, parts.bounds)
        with trail.stage("route"):
            trail.routed = routed = route(scrubbed, parts.salt_key)
        with trail.stage("audit"):
            await audit_admission(trail, parts.audit)
        call.goes_upstream(routed.body)
        with trail.stage("infer"), nullcontext() if charge is None else charge.drawing():
            answered = await infer(routed, parts.backends, trail.saw, parts.private_server)
        with trail.stage("noise"):
            noised = noise(answered, Tally() if charge is None else charge.tally)
            if charge is not None and charge.tally.loss is not None:
                await charge.settle()  # before its headers go out; a stream is settled at its end
        with trail.stage("restore"):
            released, filters = await restore(noised, parts.detector)
        with trail.stage("deliver"):
            claim = {} if charge is None else charge.headers()
            await deliver(call, released, {**released.headers, **lease.headers, **claim})
        trail.served()
    except LlmosError as error:
        trail.failed(error)
        raise
    except asyncio.CancelledError:
        trail.broken_off(call.client_is_gone)
        raise
    finally:
        if filters is not None:
            trail.answer_counts = filters.counts()
        try:
            if charge is not None:
                await charge.settle()
        finally:
            try:
                if lease is not None:
                    # The limits' headers must not tell how long an answer was before its noise: a private one counts by its estimate.
                    counted = None if charge is not None else trail.usage.get("total_tokens")
                    await parts.limits.settle(lease, tokens=counted or estimated_tokens(received))
            finally:
                await audit_outcome(trail, parts.audit)


async def deliver(call: Call, released: Released, headers: Mapping[str, str]) -> None:
    """Hand the released answer over, whole or event by event, at the client's pace."""
    if released.events is None:
        await call.deliver_whole(released.body or {}, headers)
        return
    async with aclosing(released.events) as events:  # closed at once when the client goes away, and with it the upstream's connection
        async for event in events:
            await call.deliver_event(event, headers)
    await call.deliver_end()
