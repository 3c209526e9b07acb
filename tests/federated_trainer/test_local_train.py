"""FedAvg with one full-batch step is FedSGD exactly; FedProx pulls back; adapters survive disk; misfits are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from federated_trainer.adapter import WEIGHTS_FILE, AdaptedModel
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadConfiguration, BadDataset, BadUpdate
from federated_trainer.examples import Row
from federated_trainer.local_train import row_losses, train_locally
from federated_trainer.settings import AdapterSettings, LocalSettings

RNG = np.random.default_rng(3)


def rows(count: int) -> list[Row]:
    made = []
    for _ in range(count):
        tokens = tuple(int(t) for t in RNG.integers(2, 40, RNG.integers(5, 9)))
        made.append(Row(tokens, (-100,) * 3 + tokens[3:]))
    return made


@pytest.mark.parametrize("kind", ["ffa_lora", "lora", "full"])
def test_fedavg_with_one_full_batch_step_is_fedsgd(tiny_base: Path, kind: str) -> None:
    """w ← Σ n_k/n (w − η g_k) equals w − η ∇F of all rows at once (McMahan et al. 2017, section 2), to float32's precision."""
    model = AdaptedModel(tiny_base, AdapterSettings(kind=kind, rank=4, alpha=8))
    start = model.vector() + (0.0 if kind == "full" else 0.01)
    shards = [rows(3), rows(5), rows(2)]
    step = LocalSettings(epochs=1, batch_rows=None, learning_rate=0.5)
    updates = [train_locally(model, start, shard, step, SecureRandom()) for shard in shards]
    weights = np.array([u.rows for u in updates]) / 10
    averaged = np.sum([w * u.delta.astype(np.float64) for w, u in zip(weights, updates, strict=True)], axis=0)

    model.load_vector(start)
    model.module.zero_grad()
    row_losses(model, [row for shard in shards for row in shard]).mean().backward()
    gradient = np.concatenate([dict(model.module.named_parameters())[name].grad.numpy().ravel() for name in model.layout.names])
    np.testing.assert_allclose(averaged, -0.5 * gradient, atol=2e-7)
    assert np.linalg.norm(averaged) > 1e-3


def test_row_losses_equal_the_models_own_loss(tiny_base: Path) -> None:
    model = AdaptedModel(tiny_base, AdapterSettings(rank=2))
    batch = rows(4)
    ours = row_losses(model, batch).detach()
    for loss, row in zip(ours, batch, strict=True):
        own = model.module(input_ids=torch.tensor([row.token_ids]), labels=torch.tensor([row.labels])).loss
        assert float(loss) == pytest.approx(float(own), rel=1e-5)


def test_fedprox_keeps_the_update_small(tiny_base: Path) -> None:
    model = AdaptedModel(tiny_base, AdapterSettings(rank=4))
    start, data = model.vector(), rows(6)
    free = train_locally(model, start, data, LocalSettings(epochs=5, batch_rows=None, learning_rate=0.5), SecureRandom())
    held = train_locally(model, start, data, LocalSettings(epochs=5, batch_rows=None, learning_rate=0.5, proximal_mu=1.0), SecureRandom())
    assert np.linalg.norm(held.delta) < 0.8 * np.linalg.norm(free.delta)


def test_ffa_lora_freezes_a_so_that_the_mean_of_products_is_the_product_of_means(tiny_base: Path) -> None:
    model = AdaptedModel(tiny_base, AdapterSettings(rank=4))
    assert all("lora_B" in name for name in model.layout.names)
    again = AdaptedModel(tiny_base, AdapterSettings(rank=4))
    a = {name: p for name, p in model.module.named_parameters() if "lora_A" in name}
    assert all(torch.equal(p, dict(again.module.named_parameters())[name]) for name, p in a.items()), "A is equal at every institution"


def test_adapter_survives_disk_bit_by_bit(tiny_base: Path, tmp_path: Path) -> None:
    model = AdaptedModel(tiny_base, AdapterSettings(rank=4))
    trained = train_locally(model, model.vector(), rows(4), LocalSettings(learning_rate=0.5), SecureRandom()).delta
    model.load_vector(trained)
    model.save(tmp_path / "adapter")
    other = AdaptedModel(tiny_base, AdapterSettings(rank=4))
    other.load(tmp_path / "adapter")
    np.testing.assert_array_equal(other.vector(), trained)


def test_adapter_of_another_shape_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    AdaptedModel(tiny_base, AdapterSettings(rank=2)).save(tmp_path / "adapter")
    model = AdaptedModel(tiny_base, AdapterSettings(rank=4))
    with pytest.raises(BadUpdate, match="shapes"):
        model.load(tmp_path / "adapter")
    with pytest.raises(BadUpdate, match="shape"):
        model.load_vector(np.zeros(3, dtype=np.float32))
    poisoned = model.vector()
    poisoned[0] = np.nan
    with pytest.raises(BadUpdate, match="finite"):
        model.load_vector(poisoned)
    state = load_file(tmp_path / "adapter" / WEIGHTS_FILE)
    save_file({name + "x": tensor for name, tensor in state.items()}, tmp_path / "adapter" / WEIGHTS_FILE)
    with pytest.raises(BadUpdate):
        AdaptedModel(tiny_base, AdapterSettings(rank=2)).load(tmp_path / "adapter")


def test_no_rows_and_no_model_are_clear_errors(tiny_base: Path, tmp_path: Path) -> None:
    model = AdaptedModel(tiny_base, AdapterSettings(rank=2))
    with pytest.raises(BadDataset, match="0 examples"):
        train_locally(model, model.vector(), [], LocalSettings(), SecureRandom())
    with pytest.raises(BadConfiguration):
        AdaptedModel(tmp_path, AdapterSettings())


def test_exploding_training_is_refused(tiny_base: Path) -> None:
    model = AdaptedModel(tiny_base, AdapterSettings(kind="full"))
    with pytest.raises(BadUpdate, match="finite"):
        train_locally(model, model.vector(), rows(4), LocalSettings(epochs=20, learning_rate=1e30), SecureRandom())
