"""Private records lose their personal data one by one, to type placeholders that nothing reverses.

Each record is replaced as a function of itself alone: no numbering, no surrogate that avoids another's, no vault. State shared
between records would make one record's text depend on another's, and the ensemble's sensitivity would be C instead of C/s.
Not covered: what detection does not find.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import PolicyRefusal
from gateway.exchange import Span
from policies.schema import Action, EntityRule, Policy


def without_personal_data(record: str, spans: Sequence[Span], policy: Policy) -> str:
    """`record` with every span as `<ENTITY>`, but for entities that the policy allows. Raises PolicyRefusal for a blocked one."""
    pieces, end = [], 0
    for span in sorted(spans, key=lambda s: s.start):
        action = policy.entities.get(span.entity, EntityRule()).action
        if action is Action.BLOCK:
            raise PolicyRefusal("a private record holds an entity that the policy blocks; nothing was sent", param="private_records")
        if action is Action.ALLOW:
            continue
        if span.start >= end:
            pieces += [record[end : span.start], f"<{span.entity}>"]
        end = max(end, span.end)
    return "".join([*pieces, record[end:]])
