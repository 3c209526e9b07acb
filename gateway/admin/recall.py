"""The recall floor: a policy serves a production tenant only if detection finds enough of that tenant's labelled text.

The labelled file is JSON lines, {"text": …, "spans": [{"start", "end", "entity"}, …]}, offsets in code points. A labelled
span counts as found when detected spans cover it whole, whatever their entity: what matters is that the value does not
go upstream. Recall on a file says something about texts like it, and nothing about others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import InvalidPolicy
from gateway.exchange import Span
from gateway.ports import Detector
from gateway.stores.tenants import Tenant
from policies.schema import Action, Policy

BATCH = 32


@dataclass(frozen=True, slots=True)
class Recall:
    """Labelled spans, and how many of them were found, by entity."""

    labelled: Counter[str]
    found: Counter[str]

    def of(self, entity: str | None = None) -> float | None:
        """The share found, over all or of one entity; None where nothing was labelled."""
        labelled = self.labelled.total() if entity is None else self.labelled[entity]
        found = self.found.total() if entity is None else self.found[entity]
        return found / labelled if labelled else None


@dataclass(frozen=True, slots=True)
class _Labelled:
    text: str
    spans: tuple[tuple[int, int, str], ...]


def read_labelled(path: Path) -> list[_Labelled]:
    """Raises InvalidPolicy where the file can't be read or a line is not as described."""
    try:
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as failed:
        raise InvalidPolicy(f"The labelled file can't be read: {type(failed).__name__}.") from None
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            plain = json.loads(line)
            spans = tuple((int(s["start"]), int(s["end"]), str(s["entity"])) for s in plain["spans"])
            text = str(plain["text"])
        except (ValueError, KeyError, TypeError):
            raise InvalidPolicy(f"Line {number} of the labelled file is not {{text, spans: [{{start, end, entity}}]}}.") from None
        if any(not 0 <= start < end <= len(text) for start, end, _ in spans):
            raise InvalidPolicy(
                f"Line {number} of the labelled file has a span outside its text; offsets are code points, `end` exclusive."
            )
        entries.append(_Labelled(text, spans))
    return entries


async def measure(detector: Detector, policy: Policy, labelled: Sequence[_Labelled], *, tenant: str | None = None) -> Recall:
    """Recall of detection, with the roster of `tenant` where one is named. Raises DetectorFailed, StoreUnavailable."""
    total, found = Counter[str](), Counter[str]()
    for begin in range(0, len(labelled), BATCH):
        batch = labelled[begin : begin + BATCH]
        for entry, spans in zip(batch, await detector.detect([entry.text for entry in batch], policy, tenant=tenant), strict=True):
            covered = _covered(spans, policy)
            for start, end, entity in entry.spans:
                total[entity] += 1
                found[entity] += covered.issuperset(range(start, end))
    return Recall(total, found)


def recall_check(detector: Detector, tenants: Callable[[], Awaitable[list[Tenant]]]) -> Callable[[Policy], Awaitable[None]]:
    """A check for `ValkeyPolicies`: refuses a policy whose floor a production tenant that it serves does not reach."""

    async def check(policy: Policy) -> None:
        if not policy.recall_floor.asks:
            return
        for tenant in await tenants():
            await check_tenant(detector, policy, tenant)

    return check


async def check_tenant(detector: Detector, policy: Policy, tenant: Tenant) -> None:
    """Raises InvalidPolicy where the policy may serve this production tenant and its recall there is under its floor."""
    if not (policy.recall_floor.asks and tenant.production) or (policy.match.tenants and tenant.name not in policy.match.tenants):
        return
    if tenant.labelled_file is None:
        raise InvalidPolicy(
            f"The policy has a recall floor and tenant {tenant.name!r} is in production without a labelled file; "
            f"name one with `llmos keys tenant {tenant.name} --production --labelled FILE`.",
            param="recall_floor",
        )
    recall = await measure(detector, policy, read_labelled(Path(tenant.labelled_file)), tenant=tenant.name)
    floors: list[tuple[str | None, float | None]] = [(None, policy.recall_floor.overall), *policy.recall_floor.entities.items()]
    for entity, floor in floors:
        reached = recall.of(entity)
        if floor is not None and (reached is None or reached < floor):
            says = "has no labelled spans" if reached is None else f"is {reached:.3f}"
            raise InvalidPolicy(
                f"Recall of {entity or 'all entities'} on the labelled text of tenant {tenant.name!r} {says}; "
                f"the policy's floor is {floor:g}. Add recognizers, lower scores, or label what is missing.",
                param="recall_floor",
            )


def _covered(spans: Sequence[Span], policy: Policy) -> set[int]:
    """The code points that do not go upstream as they are."""
    acted = [s for s in spans if s.entity in policy.entities and policy.entities[s.entity].action is not Action.ALLOW]
    return {position for span in acted for position in range(span.start, span.end)}
