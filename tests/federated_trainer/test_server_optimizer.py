"""The server's step against Flower's own strategy, and no trace of a refused round."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam

from federated_trainer.server_optimizer import ServerOptimizer

RNG = np.random.default_rng(1)


def test_fedavg_adds_the_mean() -> None:
    weights, mean = RNG.normal(size=9).astype(np.float32), RNG.normal(size=9)
    np.testing.assert_allclose(ServerOptimizer("fedavg").step(weights, mean)[0], weights + mean, rtol=1e-6)


def test_fedadam_agrees_with_flower() -> None:
    """Flower adds Adam's bias correction to its rate; the paper's algorithm has none, so its rate is set to cancel it."""
    ours = ServerOptimizer("fedadam", learning_rate=0.1)
    theirs = FedAdam(eta=0.1, beta_1=0.9, beta_2=0.99, tau=1e-3)
    weights = RNG.normal(size=5)
    other = weights.copy()
    for round_number in (1, 2, 3):
        mean = RNG.normal(size=5)
        theirs.current_arrays = {"w": other}
        theirs.eta = 0.1 * (1 - 0.9 ** (round_number + 1)) / np.sqrt(1 - 0.99 ** (round_number + 1))
        content = RecordDict({"arrays": ArrayRecord({"w": Array(other + mean)}), "metrics": MetricRecord({"num-examples": 1})})
        # A Message can be made within a run only; the strategy reads these two attributes of a reply.
        reply = SimpleNamespace(content=content, has_error=lambda: False, metadata=SimpleNamespace(src_node_id=1))
        aggregated, _ = theirs.aggregate_train(round_number, [reply])  # type: ignore[list-item]
        assert aggregated is not None
        other = aggregated["w"].numpy()
        weights, state = ours.step(weights, mean)
        ours.commit(state)
        np.testing.assert_allclose(weights, other, rtol=1e-5)
        weights = other.copy()


def test_uncommitted_step_leaves_no_trace() -> None:
    optimizer = ServerOptimizer("fedadam", learning_rate=0.1)
    weights, mean = np.zeros(3, dtype=np.float32), np.ones(3)
    first, _ = optimizer.step(weights, mean)
    second, _ = optimizer.step(weights, mean)
    np.testing.assert_array_equal(first, second)


def test_moments_outlive_a_run_with_the_version_that_they_led_to(tmp_path: Path) -> None:
    file, weights = tmp_path / "moments", np.zeros(3, dtype=np.float32)
    before = ServerOptimizer("fedadam", learning_rate=0.1)
    before.commit(before.step(weights, np.array([1.0, -2.0, 3.0]))[1])
    before.save(file, 7)
    after, mean = ServerOptimizer("fedadam", learning_rate=0.1), np.ones(3)
    assert after.resume(file, 7, 3)
    np.testing.assert_array_equal(after.step(weights, mean)[0], before.step(weights, mean)[0])
    anew = ServerOptimizer("fedadam", learning_rate=0.1)
    fresh = anew.step(weights, mean)[0]
    assert not anew.resume(file, 6, 3), "rolled back"
    assert not anew.resume(file, 7, 4), "another adapter"
    file.write_bytes(file.read_bytes()[:40])
    assert not anew.resume(file, 7, 3), "damaged"
    assert not anew.resume(tmp_path / "absent", 7, 3)
    np.testing.assert_array_equal(anew.step(weights, mean)[0], fresh)
    ServerOptimizer("fedavg").save(tmp_path / "none", 1)
    assert not (tmp_path / "none").exists()
