"""Losses and caps, against two independent accountants: dp-accounting's RDP and OpenDP's privacy filter."""

import math
from typing import Any

import dp_accounting
import opendp.prelude as dp
import pytest
from dp_accounting import rdp as dp_rdp

from gateway.dp.accountant import EPSILON_UNIT, RHO_UNIT, amounts, claimed_epsilon, coordinates, rdp_cap, zcdp_cap
from gateway.dp.loss import Loss, exponential_epsilon, per_token, unit_of, worst_case
from policies.dp import Budget, DpRule, EnsembleRule, TokenRule

dp.enable_features("contrib")


def token(**changes: object) -> TokenRule:
    return TokenRule.model_validate({"kind": "token", "clip": 4.0, "temperature": 2.0, "max_tokens": 10} | changes)


def test_token_losses() -> None:
    assert per_token(token()) == Loss(4.0, 0.0, 2.0)
    argmax = token(selection="argmax", clip=None, temperature=None, epsilon_per_token=3.0)
    assert per_token(argmax) == Loss(3.0, 0.0, 4.5)
    ensemble = EnsembleRule(kind="ensemble", groups=8, clip=4.0, temperature=0.5, max_tokens=10, crosstalk=0.0)
    assert per_token(ensemble).epsilon == 2 * 4.0 / (8 * 0.5)
    assert per_token(ensemble).rho == 4.0**2 / (2 * 8**2 * 0.5**2)
    shared = ensemble.model_copy(update={"crosstalk": 0.1})
    # Seven other groups, each moved by up to 0.1 logits and a step of rounding.
    assert per_token(shared).epsilon == pytest.approx(2.0 * (1 + 7 * (0.2 / 4.0 + 1 / 4096)), rel=1e-3)


def test_the_whole_request_is_reserved() -> None:
    rule = DpRule(mechanism=token(), budget=Budget(epsilon=100.0))
    assert worst_case(rule, 10).epsilon == pytest.approx(40.0)
    assert unit_of(rule).startswith("request")


@pytest.mark.parametrize("a", [0.01, 0.5, 2.0, 10.0, 25.0])
@pytest.mark.parametrize("candidates", [2, 10, 49_152])
def test_the_bound_by_vocabulary_is_attained_and_no_larger_than_2a(a: float, candidates: int) -> None:
    bound = exponential_epsilon(a, 1.0, candidates)
    # The extreme pair: one token best and all others at -C, against the reverse.
    others = candidates - 1
    best = 1 / (1 + others * math.exp(-a))
    worst = math.exp(-a) / (math.exp(-a) + others)
    assert math.log(best / worst) == pytest.approx(bound, rel=1e-9)
    assert bound <= 2 * a


def test_two_candidates_halve_the_bound() -> None:
    assert exponential_epsilon(3.0, 1.0, 2) == pytest.approx(3.0, rel=1e-9)


def test_costs_are_rounded_up_and_caps_down() -> None:
    budget = Budget(epsilon=0.1)
    assert coordinates(budget)[0].cap == 100_000_000
    assert amounts(budget, Loss(epsilon=0.1))[0] == 100_000_000
    assert amounts(budget, Loss(epsilon=1e-12))[0] == 1
    assert coordinates(Budget(epsilon=1.23456789012))[0].cap * EPSILON_UNIT <= 1.23456789012


def test_zcdp_caps_agree_with_dp_accounting() -> None:
    budget = Budget(accountant="zcdp", epsilon=3.0, delta=1e-6)
    rho = zcdp_cap(3.0, 1e-6)
    assert coordinates(budget)[0].cap * RHO_UNIT <= rho
    accountant = dp_rdp.RdpAccountant(orders=[1 + x / 20 for x in range(1, 2000)])
    accountant.compose(dp_accounting.GaussianDpEvent(1 / math.sqrt(2 * rho)))
    # The Gaussian with this rho: the independent accountant's epsilon is at most the budget's, and not far under it.
    assert 0.85 * 3.0 <= accountant.get_epsilon(1e-6) <= 3.0


def test_renyi_caps_agree_with_dp_accounting() -> None:
    order = 16.0
    cap = rdp_cap(4.0, 1e-6, order)
    sigma = math.sqrt(order / (2 * cap))
    accountant = dp_rdp.RdpAccountant(orders=[order])
    accountant.compose(dp_accounting.GaussianDpEvent(sigma))
    assert accountant.get_epsilon(1e-6) <= 4.0
    budget = Budget(accountant="rdp", epsilon=4.0, delta=1e-6, orders=(order,))
    spent = amounts(budget, Loss(epsilon=99.0, delta=1e-9, rho=1 / (2 * sigma**2)))
    assert claimed_epsilon(budget, spent) == pytest.approx(4.0, abs=1e-6)


def test_a_pure_release_never_costs_more_than_its_epsilon_at_any_order() -> None:
    budget = Budget(accountant="rdp", epsilon=4.0, delta=1e-6, orders=(64.0,))
    assert amounts(budget, Loss(epsilon=0.5, rho=0.125)) == (500_000_000,)


def admitted(queryable: Any, release: Any) -> int:
    """How many releases a filter of OpenDP admits before it refuses."""
    for count in range(100):
        try:
            queryable(release)
        except dp.OpenDPException:
            return count
    return 100


def test_opendp_s_privacy_filter_admits_as_many_releases() -> None:
    epsilon, each = 2.0, 0.3
    ours, budget, spent = 0, Budget(epsilon=epsilon), 0
    while spent + amounts(budget, Loss(epsilon=each))[0] <= coordinates(budget)[0].cap:
        spent += amounts(budget, Loss(epsilon=each))[0]
        ours += 1
    domain, metric = dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float)
    odometer = dp.c.make_fully_adaptive_composition(domain, metric, dp.max_divergence())
    queryable = dp.c.make_privacy_filter(odometer, d_in=1.0, d_out=epsilon)(0.0)
    release = dp.m.make_laplace(domain, metric, scale=1 / each)
    assert ours == admitted(queryable, release) == 6


def test_opendp_s_filter_agrees_on_rho() -> None:
    cap, each = 0.5, 0.06
    domain, metric = dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float)
    odometer = dp.c.make_fully_adaptive_composition(domain, metric, dp.zero_concentrated_divergence())
    queryable = dp.c.make_privacy_filter(odometer, d_in=1.0, d_out=cap)(0.0)
    release = dp.m.make_gaussian(domain, metric, scale=math.sqrt(1 / (2 * each)))
    assert admitted(queryable, release) == math.floor(cap / each)
