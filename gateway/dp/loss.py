"""The privacy loss of one release, in each of the quantities that a ledger may add up.

Flow: a policy's mechanism and a token count give a `Loss` (`worst_case` before inference, `token_loss` after); the accountant
of the budget turns it into the ledger's quantity (`gateway.dp.accountant`).

Bounds used, with a = clip / temperature:
  exponential token   epsilon <= 2a (McSherry & Talwar 2007), and epsilon <= ln((1 + (V-1) e^a) / (1 + (V-1) e^-a)) for V
                      candidates (docs/differential-privacy.md derives it); 2a-bounded-range, so rho = a^2/2
                      (Cesar & Rogers 2021: eta-bounded-range gives eta^2/8-zCDP)
  argmax token        epsilon (Kairouz, Oh & Viswanath 2016); rho = epsilon^2/2 (Bun & Steinke 2016, Prop. 1.4)
  ensemble token      the exponential's with a / s in place of a, plus what rounding in shared kernels adds (`reach_steps`);
                      unit one record, replaced
  structured leaf     Laplace, randomised response: epsilon and rho = epsilon^2/2; Gaussian: (epsilon, delta) and rho from its scale

Not covered: everything that is not the released value (lengths, timing, errors, routing).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gateway.dp.exact import up, written
from gateway.dp.numeric import gaussian_rho
from gateway.dp.vllm_plugin.weights import GRID_STEPS, reach_steps
from policies.dp import DpRule, EnsembleRule, StructuredRule, TokenRule


@dataclass(frozen=True, slots=True)
class Loss:
    """(epsilon, delta)-DP and rho-zCDP, both true of the same release (delta belongs to the first alone). Sums are rounded up."""

    epsilon: float = 0.0
    delta: float = 0.0
    rho: float = 0.0

    def times(self, count: int) -> Loss:
        """The loss of `count` such releases, adaptively chosen inputs allowed."""
        return Loss(*(up(written(each) * count) for each in (self.epsilon, self.delta, self.rho)))

    def plus(self, other: Loss) -> Loss:
        """Both releases."""
        pairs = ((self.epsilon, other.epsilon), (self.delta, other.delta), (self.rho, other.rho))
        return Loss(*(up(written(mine) + written(theirs)) for mine, theirs in pairs))


@dataclass(slots=True)
class Tally:
    """What a request has released so far: nothing at first; None from the moment the model may draw until the answer is complete.

    None is charged as the worst case: of an answer that broke off nobody knows how much was drawn and seen.
    """

    loss: Loss | None = field(default_factory=Loss)


def exponential_epsilon(clip: float, temperature: float, candidates: int | None = None, groups: int = 1) -> float:
    """Pure epsilon of one draw. With `candidates` (how many tokens can be drawn) and one group, the exact bound.

    Over several groups a replaced record moves each mean utility by at most clip / groups, and 2 clip / (groups temperature) is used.
    """
    standard = up(2 * written(clip) / (groups * written(temperature)))
    if candidates is None or groups > 1:
        return standard
    a, others = clip / temperature, candidates - 1
    # ln((1 + others e^a) / (1 + others e^-a)), written without a difference of near numbers
    exact = math.log1p(2 * others * math.sinh(a) / (1 + others * math.exp(-a)))
    return min(standard, exact * (1 + 1e-12))  # far more than the error of these operations


def per_token(rule: TokenRule | EnsembleRule) -> Loss:
    """The loss of one drawn token, the end token included."""
    if isinstance(rule, EnsembleRule):
        reach = min(rule.groups * GRID_STEPS, reach_steps(rule.clip, rule.groups, rule.crosstalk))
        a = written(rule.clip) * reach / (rule.groups * written(rule.temperature) * GRID_STEPS)
        return Loss(up(2 * a), 0.0, up(a * a / 2))
    if rule.selection == "argmax":
        assert rule.epsilon_per_token is not None  # the rule's own validation
        return Loss(rule.epsilon_per_token, 0.0, pure_rho(rule.epsilon_per_token))
    assert rule.clip is not None
    assert rule.temperature is not None
    candidates = rule.vocabulary_size - 1 if rule.vocabulary_size else None  # the sentinel is never drawn
    a = written(rule.clip) / written(rule.temperature)
    epsilon = exponential_epsilon(rule.clip, rule.temperature, candidates)
    return Loss(epsilon, 0.0, min(up(a * a / 2), pure_rho(epsilon)))


def pure_rho(epsilon: float) -> float:
    """The rho of a pure epsilon-DP release: epsilon^2 / 2 (Bun & Steinke 2016, Prop. 1.4)."""
    return up(written(epsilon) ** 2 / 2)


def structured_loss(rule: StructuredRule) -> Loss:
    """The loss of one released object: the sum over its leaves, whatever the model answered."""
    total = Loss()
    for leaf in rule.leaves:
        if leaf.kind == "dropped":
            continue
        rho = gaussian_rho(leaf.epsilon, leaf.delta) if leaf.mechanism == "gaussian" else pure_rho(leaf.epsilon)
        total = total.plus(Loss(leaf.epsilon, leaf.delta, rho))
    return total


def worst_case(rule: DpRule, max_tokens: int) -> Loss:
    """What to reserve before inference: all of `max_tokens` drawn, or the object released."""
    mechanism = rule.mechanism
    if isinstance(mechanism, StructuredRule):
        return structured_loss(mechanism)
    return per_token(mechanism).times(max_tokens)


def drawn_loss(rule: DpRule, drawn: int) -> Loss:
    """The loss of an answer of `drawn` tokens, the end token included; of a whole object for a structured rule."""
    return worst_case(rule, drawn)


def unit_of(rule: DpRule) -> str:
    """Whose change the guarantee is about, in the words of the header and of docs/privacy-claims.md."""
    return "record (replace one)" if isinstance(rule.mechanism, EnsembleRule) else "request (any two inputs)"
