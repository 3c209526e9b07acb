"""A digest of everything in a policy on which detection depends: part of every key under which spans are cached."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from policies.schema import Policy

_KEPT = 256
_digests: OrderedDict[int, tuple[Policy, bytes]] = OrderedDict()  # a pure function's results, by identity of a frozen value


def policy_digest(policy: Policy) -> bytes:
    """16 bytes of BLAKE2b over the policy's entities, recognizers and languages."""
    known = _digests.get(id(policy))
    if known is not None and known[0] is policy:
        return known[1]
    digest = hashlib.blake2b(policy.model_dump_json(include={"entities", "recognizers", "languages"}).encode(), digest_size=16).digest()
    _digests[id(policy)] = (policy, digest)
    if len(_digests) > _KEPT:
        _digests.popitem(last=False)
    return digest
