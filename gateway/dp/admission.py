"""What a request must be for its policy's privacy mechanism, decided before anything is reserved or sent.

Flow: `stages.admit` asks `private_max_tokens`, reserves the worst case for it, and fixes the number for the rest of the request.
Sampling parameters of the client are not looked at: none of them goes upstream (`upstream`). A request that the mechanism can't
serve is refused here, with a message that says how to mend it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.dp.accountant import amounts, coordinates
from gateway.dp.loss import worst_case
from gateway.dp.structured import check_release
from gateway.errors import BadRequest, InvalidPolicy
from policies.dp import DpRule, EnsembleRule, StructuredRule
from policies.schema import Policy


def private_max_tokens(rule: DpRule, api: str, body: Mapping[str, Any]) -> int:
    """The most tokens that may be drawn for this request. Raises BadRequest.

    A structured answer has the policy's own bound, so that the client's can't cut it short.
    """
    mechanism = rule.mechanism
    if api not in ("chat.completions", "completions"):
        raise BadRequest("this policy's differential privacy covers chat completions and completions only")
    if api == "completions" and not (mechanism.kind == "token" and isinstance(body.get("prompt"), str)):
        raise BadRequest("this policy's mechanism needs /v1/chat/completions, or one prompt that is a string", param="prompt")
    if body.get("n") not in (None, 1):
        raise BadRequest("one answer a request under differential privacy: leave `n` out", param="n")
    if not (body.get("logprobs") is None or body.get("logprobs") is False) or body.get("top_logprobs"):  # 0 asks for those drawn
        raise BadRequest("logprobs would show what the noise hides: leave them out", param="logprobs")
    if body.get("tools") or body.get("functions"):
        raise BadRequest("tools are not available under differential privacy: leave them out", param="tools")
    if isinstance(mechanism, StructuredRule):
        return mechanism.max_tokens
    wanted = body.get("max_completion_tokens", body.get("max_tokens"))
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise BadRequest("max_tokens is missing: the privacy budget is reserved for it", param="max_tokens")
    if wanted > mechanism.max_tokens:
        raise BadRequest(f"max_tokens must be at most {mechanism.max_tokens} under this policy", param="max_tokens")
    return wanted


def take_records(rule: DpRule | None, body: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body without `private_records`, and the records, where the policy's mechanism is an ensemble. Raises BadRequest.

    Under any other policy the body is left as it is; the field is unknown there, and refused as such.
    """
    if rule is None or not isinstance(rule.mechanism, EnsembleRule):
        return dict(body), ()
    rest = dict(body)
    records = rest.pop("private_records", None)
    if not isinstance(records, list) or not records or not all(isinstance(r, str) and r for r in records):
        raise BadRequest("private_records must be a list of texts, each one person's", param="private_records")
    mechanism = rule.mechanism
    if len(records) > mechanism.max_records:
        raise BadRequest(f"at most {mechanism.max_records} private_records", param="private_records")
    if any(len(r) > mechanism.max_record_chars for r in records):
        raise BadRequest(f"a private record has at most {mechanism.max_record_chars} characters", param="private_records")
    return rest, tuple(records)


async def check_policy(policy: Policy) -> None:
    """Refuse a policy whose mechanism or budget could not work, before it is written. Raises InvalidPolicy."""
    rule = policy.dp
    if rule is None:
        return
    try:
        spaces = coordinates(rule.budget)
        if isinstance(rule.mechanism, StructuredRule):
            check_release(rule.mechanism)
        least = amounts(rule.budget, worst_case(rule, 1))
    except OverflowError as error:
        raise InvalidPolicy("dp: the loss of one answer is beyond all numbers; take smaller epsilons", param="dp") from error
    except ValueError as error:
        raise InvalidPolicy(f"dp: {error}", param="dp") from error
    for space, units in zip(spaces, least, strict=True):
        if units > space.cap:
            raise InvalidPolicy(
                f"dp: the smallest answer costs {units * space.unit:.6g} of {space.name} and the whole budget holds "
                f"{space.cap * space.unit:.6g}: no request could ever be served",
                param="dp",
            )
