"""A published version as one whole model on disk: its adapter merged into the base weights.

For engines that take no adapter: the MPC parties, and a model server of its own for full weights (blue/green). What is
written is verified first (signature, base, digests) and read back after.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from federated_trainer.adapter import AdaptedModel
from federated_trainer.coordinator import open_registry, weights_of
from federated_trainer.errors import BadConfiguration, BadUpdate
from federated_trainer.settings import FederationSettings


def export_version(settings: FederationSettings, version: int, folder: Path) -> None:
    """Write the merged model to `folder`. Raises BadConfiguration (the folder exists), NotTrusted, RegistryError, BadUpdate."""
    if folder.exists():
        raise BadConfiguration(f"{folder} exists already; name a new folder.")
    model = AdaptedModel(settings.base_model, settings.adapter)
    model.load_vector(weights_of(version, open_registry(settings), model, settings.data_dir / "adapters"))
    merged = model.module if settings.adapter.kind == "full" else model.module.merge_and_unload()
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    merged.save_pretrained(partial)
    model.tokenizer.save_pretrained(partial)
    state = merged.state_dict()
    for file in partial.glob("*.safetensors"):
        if any(not torch.equal(tensor, state[name]) for name, tensor in load_file(file).items()):
            shutil.rmtree(partial)
            raise BadUpdate("The merged model reads back from disk with other bits than were saved; it was deleted.")
    partial.rename(folder)
