"""What DP-SGD costs: (ε, δ) of Poisson-sampled Gaussian steps, by dp-accounting.

Neighbours differ by adding or removing one unit (here: all rows of one data subject). Each step includes each unit
independently with the sampling rate, clips its gradient, and adds Gaussian noise of noise_multiplier * clip_norm to the
sum; the update is divided by a public constant. Composition is adaptive, over all steps of all rounds.
Two accountants: PLD (tight; Doroshenko et al. 2022) decides, RDP (Mironov et al. 2019) is shown beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import dp_accounting
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from federated_trainer.errors import BadConfiguration

# Integer orders: fractional ones converge slowly at large sampling rates, and PLD decides anyway.
_FINE, _COARSE = 1e-4, 1e-3  # of the privacy loss: dp-accounting rounds it up
_ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 512)


@dataclass(frozen=True, slots=True)
class GaussianSteps:
    """`steps` releases of a sum over a Poisson sample with `sampling_rate`, under Gaussian noise of `noise_multiplier`."""

    sampling_rate: float
    noise_multiplier: float
    steps: int

    def __post_init__(self) -> None:
        if not (0 < self.sampling_rate <= 1 and self.noise_multiplier > 0 and self.steps >= 1):
            raise BadConfiguration("The sampling rate must be in (0, 1], the noise multiplier positive, and there must be a step.")

    def event(self) -> dp_accounting.DpEvent:
        gaussian = dp_accounting.GaussianDpEvent(self.noise_multiplier)
        step = gaussian if self.sampling_rate == 1 else dp_accounting.PoissonSampledDpEvent(self.sampling_rate, gaussian)
        return dp_accounting.SelfComposedDpEvent(step, self.steps)


def _merged(spent: Iterable[GaussianSteps]) -> list[GaussianSteps]:
    """Steps of the same kind as one entry: composition does not depend on the order, and a life has many equal rounds."""
    steps: dict[tuple[float, float], int] = {}
    for one in spent:
        kind = (one.sampling_rate, one.noise_multiplier)
        steps[kind] = steps.get(kind, 0) + one.steps
    return [GaussianSteps(rate, noise, number) for (rate, noise), number in steps.items()]


def epsilon_pld(spent: Iterable[GaussianSteps], delta: float, loss_interval: float = _FINE) -> float:
    """ε at this δ by privacy loss distributions; 0.0 where nothing was spent. A wider interval is faster, never too low."""
    accountant = PLDAccountant(value_discretization_interval=loss_interval)
    for steps in _merged(spent):
        accountant.compose(steps.event())
    return float(accountant.get_epsilon(delta))


def epsilon_rdp(spent: Iterable[GaussianSteps], delta: float) -> float:
    """ε at this δ by Rényi differential privacy; never below the PLD value by more than its discretisation."""
    accountant = RdpAccountant(_ORDERS)
    for steps in _merged(spent):
        accountant.compose(steps.event())
    return float(accountant.get_epsilon(delta))


def noise_multiplier_for(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """The least noise multiplier (to 0.001) whose `steps` steps keep (ε, δ). Raises BadConfiguration where none up to 1,000 does."""
    steps_of = partial(GaussianSteps, sampling_rate, steps=steps)
    low, high = 1e-2, 1000.0
    if epsilon_rdp([steps_of(noise_multiplier=high)], delta) > epsilon:
        raise BadConfiguration("No noise multiplier up to 1,000 keeps this epsilon; take fewer steps or a larger epsilon.")
    # RDP is fast and an upper bound: it finds where PLD, which is slow at little noise, has to look.
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if epsilon_rdp([steps_of(noise_multiplier=middle)], delta) > epsilon else (low, middle)
    low = high / 2
    while high - low > 1e-3 and high / low > 1.0005:
        middle = (low + high) / 2
        if epsilon_pld([steps_of(noise_multiplier=middle)], delta, _COARSE) > epsilon:
            low = middle
        else:
            high = middle
    return high


def epsilon_of_zcdp(rho: float, delta: float) -> float:
    """(ε, δ) of ρ-zero-concentrated differential privacy (client-level rounds); ρ adds up over rounds."""
    if rho == 0:
        return 0.0
    accountant = RdpAccountant()
    accountant.compose(dp_accounting.ZCDpEvent(rho))
    return float(accountant.get_epsilon(delta))
