"""The policies of a deployment without a policy store of its own: a fixed list, first match first.

Their version is the position in the list.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import PolicyRefusal
from gateway.exchange import Principal
from policies.schema import Policy


class FixedPolicies:
    """Policies that do not change while the process runs."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)

    async def resolve(self, principal: Principal, model: str, path: str) -> tuple[Policy, int]:
        """The first policy that matches. Raises PolicyRefusal where none does."""
        for version, policy in enumerate(self._policies, 1):
            match = policy.match
            asked = ((match.tenants, principal.tenant), (match.keys, principal.key_id), (match.models, model), (match.paths, path))
            if all(not allowed or value in allowed for allowed, value in asked):
                return policy, version
        raise PolicyRefusal("No policy serves this key, model and path.")
