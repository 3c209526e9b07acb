"""Stage 8: what happened, told without content.

A `Trail` gathers what the other stages did: names, numbers, times. Its admission record stands in the log before the first byte goes
upstream, its outcome record after the last, whatever happened between. It holds no text, no value and no stand-in; what cannot be
audited is not served. It does not prove its own integrity: the audit log chains the records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import LlmosError, TooManyAttempts
from gateway.exchange import Admitted, Api, Json, Principal, Routed, Sealed
from gateway.ports import AuditLog, Meter, Tracer

ANONYMOUS = Principal(tenant="", key_id="", role="")


@dataclass(slots=True)
class Trail:
    """The running record of one request."""

    request_id: str
    api: Api
    meter: Meter
    tracer: Tracer | None = None
    begun_s: float = field(default_factory=time.perf_counter)
    received_unix_s: float = field(default_factory=time.time)
    principal: Principal = ANONYMOUS
    stages: list[tuple[str, float, float]] = field(default_factory=list)  # name, begin in Unix seconds, seconds
    admitted: Admitted | None = None
    routed: Routed | None = None
    sealed: Sealed | None = None
    usage: Json = field(default_factory=dict)
    answer_counts: Mapping[str, int] = field(default_factory=dict)
    admission_stands: bool = False
    spent: Callable[[], Mapping[str, object]] | None = None  # of the privacy budget, where the policy asks for a private answer
    deserves_a_record: bool = True
    attempts: int | None = None
    outcome: str = "internal_error"
    status: int = 500

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times one stage."""
        begun_s = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begun_s
            self.stages.append((name, self.received_unix_s + begun_s - self.begun_s, seconds))
            self.meter.stage(name, seconds)

    def saw(self, answer: Json) -> None:
        """Note the token counts of an answer or an event that carries them."""
        usage = answer.get("usage")
        if usage is None and isinstance(response := answer.get("response"), dict):
            usage = response.get("usage")
        if isinstance(usage, dict):
            self.usage = {name: value for name, value in usage.items() if isinstance(value, int) and name.endswith("_tokens")}

    def served(self) -> None:
        """The whole answer was handed over."""
        self.outcome, self.status = "ok", 200

    def failed(self, error: LlmosError) -> None:
        """The request ended in this error."""
        self.outcome, self.status = error.code, error.status
        if isinstance(error, TooManyAttempts):
            self.attempts, self.deserves_a_record = error.count, error.deserves_a_record

    def broken_off(self, client_is_gone: bool) -> None:
        """The client went away; or else the request's time was over, or the server is stopping."""
        self.outcome, self.status = ("client_gone", 499) if client_is_gone else ("deadline", 504)

    def record(self) -> dict[str, Any]:
        """What is known so far."""
        record: dict[str, Any] = {
            "request_id": self.request_id,
            "received_unix_s": round(self.received_unix_s, 3),
            "tenant": self.principal.tenant,
            "key_id": self.principal.key_id,
            "api": self.api,
        }
        if self.admitted is not None:
            record |= {
                "policy": self.admitted.policy.id,
                "policy_version": self.admitted.policy_version,
                "model": self.admitted.served.name,
                "stream": self.admitted.received.stream,
            }
        if self.sealed is not None:
            record |= {"route": "mpc", "blind": True, "tokens_announced": self.sealed.tokens}
        if self.spent is not None:
            record["dp"] = dict(self.spent())
        if self.attempts is not None:
            record["attempts"] = self.attempts
        if self.routed is not None:
            record |= {
                "route": self.routed.target,
                "upstream_model": self.routed.model,
            }
            if self.routed.scrubbed.admitted.policy.audit.level == "full":
                record["counts"] = {f"{entity}:{action}": n for (entity, action), n in self.routed.scrubbed.counts.items()}
        return record


async def audit_admission(trail: Trail, log: AuditLog) -> None:
    """Write the admission record. Raises StoreUnavailable: then nothing goes upstream."""
    await log.admission(trail.record())
    trail.admission_stands = True


async def audit_outcome(trail: Trail, log: AuditLog) -> None:
    """Write the outcome record and count it. Raises StoreUnavailable.

    Of failed sign-ins past the limit only each doubling is written (`TooManyAttempts`); all of them are counted.
    """
    seconds = time.perf_counter() - trail.begun_s
    trail.meter.outcome(trail.api, trail.outcome, seconds)
    if trail.routed is not None:
        trail.meter.replaced(trail.routed.scrubbed.counts)
        trail.meter.routed(trail.routed.target)
    if trail.sealed is not None:
        trail.meter.routed("mpc")
    if not trail.deserves_a_record:
        return
    record = trail.record() | {
        "outcome": trail.outcome,
        "status": trail.status,
        "admitted": trail.admission_stands,
        "stage_ms": {name: round(stage_seconds * 1e3, 3) for name, _, stage_seconds in trail.stages},
        "total_ms": round(seconds * 1e3, 3),
        "tokens": trail.usage,
        "answer": dict(trail.answer_counts),
    }
    if trail.tracer is not None:
        trail.tracer.request(record, trail.received_unix_s, trail.stages)
    await log.outcome(record)
