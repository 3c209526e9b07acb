"""Rounds to a target accuracy: FedAvg beside FedSGD, on a network of one hidden layer in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.fl.tasks import Task

HIDDEN = 64


@dataclass(frozen=True)
class Recipe:
    """E epochs over batches of B rows (None: all) at this rate; FedSGD is E = 1, B = None."""

    name: str
    epochs: int
    batch: int | None
    rate: float


def start(task: Task, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    features = task.test[0].shape[1]
    w1, w2 = rng.normal(0, (2 / features) ** 0.5, (features, HIDDEN)), rng.normal(0, (1 / HIDDEN) ** 0.5, (HIDDEN, task.classes))
    return np.concatenate([w1.ravel(), np.zeros(HIDDEN), w2.ravel(), np.zeros(task.classes)]).astype(np.float32)


def unpack(task: Task, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    features = task.test[0].shape[1]
    a, b = features * HIDDEN, features * HIDDEN + HIDDEN
    c = b + HIDDEN * task.classes
    return w[:a].reshape(features, HIDDEN), w[a:b], w[b:c].reshape(HIDDEN, task.classes), w[c:]


def gradient(task: Task, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the mean cross-entropy."""
    w1, b1, w2, b2 = unpack(task, w)
    hidden = np.maximum(x @ w1 + b1, 0)
    scores = hidden @ w2 + b2
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    p /= len(y)
    back = (p @ w2.T) * (hidden > 0)
    return np.concatenate([(x.T @ back).ravel(), back.sum(0), (hidden.T @ p).ravel(), p.sum(0)])


def accuracy(task: Task, w: np.ndarray) -> float:
    w1, b1, w2, b2 = unpack(task, w)
    x, y = task.test
    return float(np.mean(np.argmax(np.maximum(x @ w1 + b1, 0) @ w2 + b2, axis=1) == y))


def curve(task: Task, recipe: Recipe, rounds: int, fraction: float, seed: int) -> list[float]:
    """Test accuracy after each round (McMahan et al. 2017, algorithm 1); ends at the target."""
    rng = np.random.default_rng(seed)
    w, seen = start(task, seed), []
    for _ in range(rounds):
        chosen = rng.permutation(len(task.clients))[: max(1, round(fraction * len(task.clients)))]
        total, weight = np.zeros_like(w), 0
        for client in chosen:
            x, y = task.clients[client]
            local = w.copy()
            for _ in range(recipe.epochs):
                order = rng.permutation(len(y))
                for begin in range(0, len(y), recipe.batch or len(y)):
                    part = order[begin : begin + (recipe.batch or len(y))]
                    local -= recipe.rate * gradient(task, local, x[part], y[part])
            total += len(y) * local
            weight += len(y)
        w = total / weight
        seen.append(accuracy(task, w))
        if seen[-1] >= task.target_accuracy:
            break
    return seen
