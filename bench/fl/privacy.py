"""Utility against epsilon: DP-SGD of the data subject inside ten clients, and client-level noise among 150."""

from __future__ import annotations

import numpy as np

from bench.fl.learning import accuracy, gradient, start
from bench.fl.tasks import Task, digits
from federated_trainer.dp.accounting import epsilon_of_zcdp, noise_multiplier_for
from federated_trainer.dp.client_level import ClientLevel
from federated_trainer.dp.secure_random import SecureRandom

DELTA = 1e-5
RATE, CLIP, ROUNDS, STEPS, SAMPLING = 1.0, 1.0, 10, 4, 0.25
_FRACTION_BITS = 12  # a client's noise at a multiplier of 4 is then still within what the exact sampler draws


def subject_level(epsilon: float | None, seed: int) -> float:
    """Test accuracy after 10 rounds of 4 noisy steps in each of 10 clients; None: the same without noise."""
    task = digits(10, seed, iid=True)
    noise = 0.0 if epsilon is None else noise_multiplier_for(epsilon, DELTA, SAMPLING, ROUNDS * STEPS)
    w = start(task, seed)
    random = SecureRandom(bytes([seed]) * 32)
    for _ in range(ROUNDS):
        deltas = [_private(task, w, client, noise, random) for client in range(len(task.clients))]
        w = (w + np.mean(deltas, axis=0)).astype(np.float32)
    return accuracy(task, w)


def _private(task: Task, w: np.ndarray, client: int, noise: float, random: SecureRandom) -> np.ndarray:
    x, y = task.clients[client]
    local = w.astype(np.float64)
    for _ in range(STEPS):
        chosen = np.flatnonzero(random.bernoulli(SAMPLING, len(y)))
        total = np.zeros_like(local)
        for i in chosen:
            g = gradient(task, local.astype(np.float32), x[i : i + 1], y[i : i + 1])
            total += g * min(1.0, CLIP / max(float(np.linalg.norm(g)), 1e-12))
        if noise:
            total += random.gaussian(noise * CLIP, total.size)
        local -= RATE * total / (SAMPLING * 144)
    return local - w


def client_level(noise_multiplier: float, seed: int, *, adaptive: bool, clients: int = 150, rounds: int = 6) -> tuple[float, float]:
    """(accuracy, ε at δ = 1e-5 for a client) after rounds of one local epoch, noise in the ring of each client."""
    task = digits(clients, seed, iid=True)
    w, clip, rho = start(task, seed), 1.0, 0.0
    for _ in range(rounds):
        bit_noise = 6.0 if adaptive else 0.0
        level = ClientLevel(w.size, clients, 120, clip, noise_multiplier, fraction_bits=_FRACTION_BITS, bit_noise=bit_noise)
        rho += level.zcdp()
        total = np.zeros(w.size + 1, dtype=np.uint64)
        for number, (x, y) in enumerate(task.clients):
            local = w.copy()
            for _ in range(5):
                local -= 0.5 * gradient(task, local, x, y)
            total += level.encode(local - w, SecureRandom(bytes([seed, number]) * 16))
        mean, clip = level.decode(total, clients)
        w = (w + mean).astype(np.float32)
    return accuracy(task, w), epsilon_of_zcdp(rho, DELTA)
