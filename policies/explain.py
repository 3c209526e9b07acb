"""A policy in plain words: what a request that it serves would meet.

Written for the person who answers for it. It says what the policy asks for, not how well detection does it.
"""

from __future__ import annotations

from collections import defaultdict

from policies.dp import DpRule, EnsembleRule, StructuredRule
from policies.schema import Action, Limits, Policy

ACTION_WORDS: dict[Action, str] = {
    Action.SURROGATE: "replaced by a realistic stand-in, restored in the answer",
    Action.PLACEHOLDER: "replaced by a tag, restored in the answer",
    Action.MASK: "masked with asterisks, not restored",
    Action.REDACT: "removed, not restored",
    Action.HASH: "replaced by a keyed hash, not restored",
    Action.ENCRYPT: "encrypted in place, restored in the answer",
    Action.BLOCK: "a reason to refuse the request",
    Action.ALLOW: "left as it is",
}
ROUTE_WORDS = {"vllm": "goes to the model server (vLLM)", "mpc": "goes to secret-shared inference (MPC)", "refuse": "is refused"}
SCAN_WORDS = {
    "off": "The answer is not scanned for personal data that the caller did not send.",
    "patterns": "The answer is scanned by pattern; personal data that the caller did not send is {action}.",
    "ner": "The answer is scanned sentence by sentence; personal data that the caller did not send is {action}.",
}
RESPONSE_WORDS = {"mask": "masked", "redact": "removed", "placeholder": "replaced by a tag", "block": "a reason to stop the answer"}


def explain(policy: Policy) -> list[str]:
    """One sentence a rule, in the order in which a request meets them."""
    sentences = []
    if policy.allowed_fields:
        sentences.append(f"These request fields pass without being read for personal data: {', '.join(policy.allowed_fields)}.")
    by_action: dict[Action, list[str]] = defaultdict(list)
    for entity, rule in policy.entities.items():
        by_action[rule.action].append(f"{entity} (score ≥ {rule.score:g})")
    for action in Action:
        if entities := by_action.get(action):
            sentences.append(f"{', '.join(entities)}: {ACTION_WORDS[action]}.")
    if not policy.entities:
        sentences.append("No entity is named: nothing is detected or replaced, and the text goes on as it is written.")
    sentences.append(f"Text is read as {' and '.join({'en': 'English', 'zh': 'Chinese'}[code] for code in policy.languages)}.")
    for recognizer in policy.recognizers:
        sentences.append(f"The policy's own recognizer {recognizer.name!r} finds {recognizer.entity}.")
    for route in policy.routing.rules:
        conditions = []
        if route.models:
            conditions.append(f"the model is {' or '.join(route.models)}")
        if route.entities:
            conditions.append(f"the text holds {' or '.join(route.entities)}")
        sentences.append(f"Where {' and '.join(conditions) or 'nothing else decided'}, the request {ROUTE_WORDS[route.to]}.")
    sentences.append(f"Otherwise the request {ROUTE_WORDS[policy.routing.default]}.")
    if policy.blind == "allow":
        sentences.append(
            "A caller may use secret-shared inference blindly: such a request is relayed sealed, and no rule about text applies to it."
        )
    if policy.dp is not None:
        sentences += _noise(policy.dp)
    restore = policy.response.restore and (policy.dp is None or policy.dp.restore)
    sentences.append("The caller's own values are put back into the answer." if restore else "The answer keeps the stand-ins.")
    sentences.append(SCAN_WORDS[policy.response.scan].format(action=RESPONSE_WORDS[policy.response.action]))
    sentences += _limits("Each key", policy.limits) + _limits("All keys of a tenant together", policy.tenant_limits)
    sentences.append(f"The vault forgets a conversation {_duration(policy.retention.vault_ttl_s)} after its last use.")
    if policy.audit.level == "minimal":
        sentences.append("The audit records no counts by entity.")
    goes_on = policy.response.scan == "ner" and policy.on_failure.answer_scan == "patterns_only"
    if goes_on:
        sentences.append("Where the scan of an answer fails, the answer goes on, scanned by pattern ALONE: names may pass.")
    part = "any other part" if goes_on else "a part"
    sentences.append(f"Where {part} fails (detection, vault, ledger, audit), the request is refused and nothing is sent.")
    if policy.recall_floor.asks:
        floors = [f"{entity} {floor:.0%}" for entity, floor in policy.recall_floor.entities.items()]
        if policy.recall_floor.overall is not None:
            floors.insert(0, f"overall {policy.recall_floor.overall:.0%}")
        sentences.append(f"A production tenant needs this recall on its own labelled text first: {', '.join(floors)}.")
    return sentences


def _noise(rule: DpRule) -> list[str]:
    """What the privacy mechanism does and costs, without its proof (docs/privacy-claims.md has the claims)."""
    mechanism, budget = rule.mechanism, rule.budget
    if isinstance(mechanism, StructuredRule):
        released = [leaf for leaf in mechanism.leaves if leaf.kind != "dropped"]
        costs = sum(leaf.epsilon for leaf in released)
        sentences = [
            f"The answer is an object of {len(released)} noised values (epsilon {costs:g}); the model's own words are not released."
        ]
        if mechanism.answer_after_s is not None:
            sentences.append(f"It leaves {mechanism.answer_after_s:g} seconds after the request came, whatever the model did.")
    elif isinstance(mechanism, EnsembleRule):
        each = 2 * mechanism.clip / (mechanism.groups * mechanism.temperature)
        sentences = [
            f"The answer is drawn from the caller's private records in {mechanism.groups} groups, at most {mechanism.max_tokens} tokens, "
            f"each at an epsilon of {each:.3g} for any one record, to which the stated crosstalk of the groups is added."
        ]
    else:
        argmax = mechanism.epsilon_per_token
        each = argmax if argmax is not None else 2 * (mechanism.clip or 0.0) / (mechanism.temperature or 1.0)
        sentences = [f"Each token of the answer is drawn privately (epsilon {each:.3g} at most, unit the whole request)."]
    window = f"a calendar {budget.window.period}" if budget.window.period else f"any {_duration(budget.window.seconds or 0)}"
    delta = "" if budget.delta is None else f" and delta {budget.delta:g}"
    sentences.append(f"Each key may spend epsilon {budget.epsilon:g}{delta} in {window}, counted by {budget.accountant}.")
    if rule.restore:
        sentences.append("Restoring the caller's values gives up the privacy claim and its headers.")
    return sentences


def _limits(whose: str, limits: Limits) -> list[str]:
    parts = []
    if limits.requests_per_minute is not None:
        parts.append(f"{limits.requests_per_minute} requests a minute")
    if limits.tokens_per_minute is not None:
        parts.append(f"{limits.tokens_per_minute} tokens a minute")
    if limits.concurrent_streams is not None:
        parts.append(f"{limits.concurrent_streams} streams at once")
    return [f"{whose} may use {', '.join(parts)}."] if parts else []


def _duration(seconds: int) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"
