"""Stage 4: where does the scrubbed request go?

The policy's rules decide, first match first; a client's model name only selects among what they allow. Only this module makes a
`Routed`. Here the body gets what goes upstream under the gateway's own name: the model's name, and for vLLM a `cache_salt` for the tenant,
without which one tenant could time what another has in the prefix cache.
"""

from __future__ import annotations

import hashlib
import hmac

from gateway.dp.upstream import local_body, private_body
from gateway.errors import PolicyRefusal
from gateway.exchange import Json, Routed, Scrubbed, Target
from policies.dp import TokenRule
from policies.schema import Routing


def route(scrubbed: Scrubbed, salt_key: bytes | None) -> Routed:
    """A private answer's parameters come from the policy alone. `salt_key` is the key of the tenants' cache salts; None sends none.

    Raises PolicyRefusal where a rule says `refuse`.
    """
    admitted = scrubbed.admitted
    served = admitted.served
    entities = {entity for entity, _ in scrubbed.counts}
    decided = _decide(admitted.policy.routing, served.name, entities)
    if decided == "refuse":
        raise PolicyRefusal("The policy refuses this request by one of its routing rules.", param="model")
    target: Target = "mpc" if "mpc" in (decided, served.target) else "vllm"
    private, rule = admitted.private, admitted.policy.dp
    if private is not None and rule is not None:
        if target != served.target:  # admission has prepared for the other
            raise PolicyRefusal("This policy's differential privacy is not available on the path that its rules choose.", param="model")
        return Routed(scrubbed=scrubbed, target=target, model=served.upstream_name, body=_private_body(scrubbed, salt_key))
    body: Json = {**scrubbed.body, "model": served.upstream_name}
    if admitted.received.api == "responses":
        body["store"] = False
    elif admitted.received.stream:
        body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
    if salt_key is not None and target == "vllm" and served.takes_cache_salt and admitted.received.api != "embeddings":
        body["cache_salt"] = cache_salt(salt_key, admitted.received.principal.tenant)
    return Routed(scrubbed=scrubbed, target=target, model=served.upstream_name, body=body)


def _private_body(scrubbed: Scrubbed, salt_key: bytes | None) -> Json:
    """Built from the policy and the scrubbed messages alone: no parameter of the client's goes upstream."""
    admitted = scrubbed.admitted
    private, rule, served = admitted.private, admitted.policy.dp, admitted.served
    assert private is not None
    assert rule is not None
    streams = admitted.received.stream and isinstance(rule.mechanism, TokenRule)
    if served.target == "mpc":
        return local_body(scrubbed.body, max_tokens=private.max_tokens)
    body = private_body(
        rule,
        scrubbed.body,
        scrubbed.private_records,
        max_tokens=private.max_tokens,
        vocabulary=private.vocabulary,
        stream=streams,
    )
    body["model"] = served.upstream_name
    if salt_key is not None and served.takes_cache_salt:
        body["cache_salt"] = cache_salt(salt_key, admitted.received.principal.tenant)
    return body


def cache_salt(key: bytes, tenant: str) -> str:
    """HMAC-SHA-256 over the tenant's name: 128 bits in hex."""
    return hmac.digest(key, b"llmos/cache-salt/" + tenant.encode(), hashlib.sha256).hex()[:32]


def _decide(routing: Routing, model: str, entities: set[str]) -> str:
    for rule in routing.rules:
        if (not rule.models or model in rule.models) and (not rule.entities or entities.intersection(rule.entities)):
            return rule.to
    return routing.default
