"""Stage 2: may this request be served, and under which policy?

The model must be one that the gateway serves, and a policy must match. The policy's version is fixed here: a change made while the
request runs does not touch it. Fields are looked at later, by `stages.scrub`, since the policy may allow some.
"""

from __future__ import annotations

from gateway.errors import BadRequest
from gateway.exchange import Admitted, Api, Received
from gateway.ports import ModelCatalogue, PolicyStore

POLICY_PATHS: dict[Api, str] = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
}


async def admit(received: Received, policies: PolicyStore, catalogue: ModelCatalogue) -> Admitted:
    """Raises BadRequest, UnknownModel, PolicyRefusal, or StoreUnavailable and UpstreamFailed from below."""
    name = received.body.get("model")
    if not isinstance(name, str) or not name:
        raise BadRequest("`model` is missing.", param="model")
    served = await catalogue.find(name, received.api)
    policy, version = await policies.resolve(received.principal, served.name, POLICY_PATHS[received.api])
    return Admitted(received=received, policy=policy, policy_version=version, served=served)
