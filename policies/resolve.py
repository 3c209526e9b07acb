"""Of all policies that match a request, the most specific one serves it.

Specific means, compared in this order: names the key, names the tenant, names the model, names the path. Naming a model
or a path exactly beats a longer prefix with `*`, which beats a shorter one. A policy that names nothing serves what no
other one matches. Two policies that would tie are refused when the second is applied (`rival`), so that a request is
never decided by chance. This decides which policy serves; it does not decide whether the caller may use the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from policies.schema import Match, Policy


@dataclass(frozen=True, slots=True)
class Subject:
    """What a policy is chosen for. `allowed_policies` empty means any."""

    tenant: str
    key_id: str
    model: str
    path: str
    allowed_policies: tuple[str, ...] = ()


Specificity = tuple[int, int, int, int]


def specificity(match: Match, subject: Subject) -> Specificity | None:
    """How specifically `match` names this subject, greater is more specific; None where it does not match."""
    ranks = (
        _listed(match.keys, subject.key_id),
        _listed(match.tenants, subject.tenant),
        _best_pattern(match.models, subject.model),
        _best_pattern(match.paths, subject.path),
    )
    return None if None in ranks else ranks  # type: ignore[return-value]  # mypy does not narrow a tuple by `in`


def choose(policies: Iterable[Policy], subject: Subject) -> Policy | None:
    """The policy that serves `subject`, or None. Ties, which `rival` keeps out, fall to the first id."""
    matching = [
        (rank, policy)
        for policy in policies
        if (not subject.allowed_policies or policy.id in subject.allowed_policies)
        and (rank := specificity(policy.match, subject)) is not None
    ]
    if not matching:
        return None
    best = max(rank for rank, _ in matching)
    return min((policy for rank, policy in matching if rank == best), key=lambda policy: policy.id)


def rival(candidate: Policy, others: Iterable[Policy]) -> Policy | None:
    """A policy that ties with `candidate` for some request, or None.

    Two policies tie exactly when, in each of the four lists, both are empty or both hold a same entry.
    """
    for other in others:
        if other.id != candidate.id and all(
            (not mine and not theirs) or bool(set(mine) & set(theirs))
            for mine, theirs in zip(_lists(candidate.match), _lists(other.match), strict=True)
        ):
            return other
    return None


def _lists(match: Match) -> tuple[Sequence[str], ...]:
    return match.keys, match.tenants, match.models, match.paths


def _listed(names: Sequence[str], name: str) -> int | None:
    if not names:
        return 0
    return 1 if name in names else None


def _best_pattern(patterns: Sequence[str], name: str) -> int | None:
    """0 for no pattern at all, else twice the literal length plus 1, plus 1 more for an exact name."""
    if not patterns:
        return 0
    ranks = [2 * len(name) + 2 for pattern in patterns if pattern == name]
    ranks += [2 * len(pattern) - 1 for pattern in patterns if pattern.endswith("*") and name.startswith(pattern[:-1])]
    return max(ranks, default=None)
