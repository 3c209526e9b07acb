"""Rules that spend a given epsilon on one answer: the mechanisms of the curves, at the same axis."""

from __future__ import annotations

from gateway.dp.loss import per_token
from policies.dp import MAX_RANGE, EnsembleRule, TokenRule

EPSILONS = (0.1, 0.3, 1.0, 3.0, 6.0, 10.0, 14.0, 20.0, 30.0, 50.0, 100.0)
CLIP = 15.0
ENSEMBLE_CLIP = 8.0
CROSSTALK = 0.1  # logits; `python -m bench.dp crosstalk` measures what it has to cover


def token_rule(selection: str, epsilon: float, tokens: int) -> TokenRule | None:
    """`tokens` tokens for `epsilon` in all; None where policies refuse so much a token."""
    each = epsilon / tokens
    if selection == "argmax":
        return None if each > MAX_RANGE else TokenRule(kind="token", selection="argmax", epsilon_per_token=each, max_tokens=tokens)
    if each > 2 * MAX_RANGE:
        return None
    return TokenRule(kind="token", clip=CLIP, temperature=2 * CLIP / each, max_tokens=tokens)


def ensemble_rule(groups: int, epsilon: float, tokens: int) -> EnsembleRule | None:
    """The same for an ensemble; its epsilon is about one record."""

    def at(temperature: float) -> EnsembleRule:
        return EnsembleRule(
            kind="ensemble", groups=groups, clip=ENSEMBLE_CLIP, temperature=temperature, crosstalk=CROSSTALK, max_tokens=tokens
        )

    temperature = per_token(at(1.0)).epsilon * tokens / epsilon  # epsilon a token is inverse in the temperature
    return None if ENSEMBLE_CLIP / temperature > MAX_RANGE else at(temperature)
