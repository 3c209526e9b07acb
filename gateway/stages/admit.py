"""Stage 2: may this request be served, under which policy, within which limits?

The model must be one that the gateway serves and the key may use, a policy must match, and the limits of key and tenant must have room. The
policy's version is fixed here: a change made while the request runs does not touch it. Fields are looked at later, by `stages.scrub`, since
the policy may allow some. The tokens taken are an estimate, corrected when the answer is complete; the
privacy budget is reserved for the worst case, and lowered when it is known what was released.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from gateway.dp.admission import private_max_tokens
from gateway.dp.charge import PrivacyCharge
from gateway.dp.ledger import BudgetAccount, PrivacyLedger
from gateway.dp.loss import worst_case
from gateway.errors import BadRequest, PolicyRefusal, UnknownModel
from gateway.exchange import Admitted, Api, Principal, PrivateAdmission, Received
from gateway.ports import ModelCatalogue, PolicyStore, PrivateServer, UseLimits
from policies.dp import StructuredRule, TokenRule
from policies.schema import Routing

POLICY_PATHS: dict[Api, str] = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "mpc.relay": "/v1/mpc/relay",
}
_BYTES_PER_TOKEN = 4
_ANSWER_TOKENS = 256  # the guess where the caller gives no bound
_MAX_NAMED = 20  # models in an error's message


async def admit(received: Received, policies: PolicyStore, catalogue: ModelCatalogue) -> Admitted:
    """Raises BadRequest, UnknownModel, PolicyRefusal, or StoreUnavailable and UpstreamFailed from below."""
    name = received.body.get("model")
    if not isinstance(name, str) or not name:
        raise BadRequest("`model` is missing.", param="model")
    try:
        served = await catalogue.find(name, received.api)
    except UnknownModel as unknown:
        may_ask = await _askable(received, policies, catalogue)
        said = f" You may ask for: {', '.join(may_ask)}." if may_ask else ""
        raise UnknownModel(unknown.message + said, param="model") from None
    if not may_use(received.principal, served.name):
        raise PolicyRefusal("This key may not use this model.", param="model")
    policy, version = await policies.resolve(received.principal, served.name, POLICY_PATHS[received.api])
    return Admitted(received=received, policy=policy, policy_version=version, served=served)


async def take_limits(admitted: Admitted, limits: UseLimits[Any]) -> Any:
    """What the request takes of its limits, to be settled once. Raises RateLimited or StoreUnavailable."""
    received = admitted.received
    return await limits.take(received.principal, admitted.policy, tokens=estimated_tokens(received), stream=received.stream)


async def reserve_privacy(admitted: Admitted, ledger: PrivacyLedger, server: PrivateServer) -> tuple[Admitted, PrivacyCharge | None]:
    """Reserve the worst case of a private answer, before anything of the request is read further; nothing where the policy asks for none.

    Raises BadRequest where the mechanism can't serve the request, PolicyRefusal, BudgetExceeded, StoreUnavailable, and
    UpstreamFailed where the model server does not prove that it draws privately.
    """
    rule = admitted.policy.dp
    if rule is None:
        return admitted, None
    received, principal = admitted.received, admitted.received.principal
    max_tokens = private_max_tokens(rule, received.api, received.body)
    vocabulary = None
    if admitted.served.target != "vllm":
        if not isinstance(rule.mechanism, TokenRule):  # tokens are drawn in the gateway there
            raise PolicyRefusal("This policy's differential privacy is not available for this model.", param="model")
    elif not isinstance(rule.mechanism, StructuredRule):
        vocabulary = await server.proven_vocabulary(admitted.served.upstream_name)
    admission = PrivateAdmission(secrets.token_hex(16), max_tokens, vocabulary)
    account = BudgetAccount(principal.tenant, principal.key_id, admitted.policy.id)
    balance = await ledger.reserve(account, rule.budget, admission.reservation_id, worst_case(rule, max_tokens))
    return replace(admitted, private=admission), PrivacyCharge(rule, account, admission, ledger, balance)


async def _askable(received: Received, policies: PolicyStore, catalogue: ModelCatalogue) -> list[str]:
    """Models that this caller's key, policies and routing rules let it ask for on this API, `_MAX_NAMED` at most.

    A model that is refused only for what a request holds, or for how its policy's privacy is drawn, is named too.
    """
    named: list[str] = []
    for name in (str(each["id"]) for each in await catalogue.listing(received.api)):
        if len(named) == _MAX_NAMED:
            break
        if not may_use(received.principal, name):
            continue
        try:
            policy, _ = await policies.resolve(received.principal, name, POLICY_PATHS[received.api])
        except PolicyRefusal:
            continue
        if not _always_refused(policy.routing, name):
            named.append(name)
    return named


def _always_refused(routing: Routing, model: str) -> bool:
    """Whether the rules refuse this model whatever a request to it holds."""
    for rule in routing.rules:
        if not rule.models or model in rule.models:
            if rule.to != "refuse":
                return False
            if not rule.entities:
                return True
    return routing.default == "refuse"


def estimated_tokens(received: Received) -> int:
    """About how many tokens the request and its answer will have."""
    body = received.body
    bound = next((each for name in ("max_completion_tokens", "max_tokens", "max_output_tokens") if _count(each := body.get(name))), None)
    answer = 0 if received.api == "embeddings" else (bound or _ANSWER_TOKENS) * (body["n"] if _count(body.get("n")) else 1)
    return received.size_bytes // _BYTES_PER_TOKEN + answer


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10_000_000


def may_use(principal: Principal, model: str) -> bool:
    """Whether the key's own list has the model; an empty list has every one."""
    return not principal.models or any(model.startswith(each[:-1]) if each.endswith("*") else model == each for each in principal.models)
