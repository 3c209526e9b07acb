"""The model that is trained: a causal LM with a LoRA adapter on it, its trainable tensors, and its files on disk.

The adapter's A is drawn from a hash of the base model, so that every institution starts from the same one; B starts at
zero. Files are peft's (adapter_config.json, adapter_model.safetensors), which vLLM loads. A saved adapter is read back and
compared bit by bit: a known fault has silently corrupted LoRA weights under per-sample gradients.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from federated_trainer.errors import BadConfiguration, BadUpdate
from federated_trainer.settings import AdapterSettings
from federated_trainer.weights import Layout, Vector

WEIGHTS_FILE = "adapter_model.safetensors"
Tensors = dict[str, npt.NDArray[np.float32]]


def base_digest(folder: Path) -> str:
    """SHA-256 in hex over the base model's configuration and weights: an adapter fits this base only. Raises BadConfiguration."""
    files = sorted([folder / "config.json", *folder.glob("*.safetensors")])
    if len(files) < 2 or not files[0].exists():
        raise BadConfiguration(f"{folder} holds no model: config.json and *.safetensors are needed.")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class AdaptedModel:
    """A base model in float32 with an adapter of the federation's shape. Dropout is off: a step is then a function of its batch."""

    def __init__(self, base_model: Path, settings: AdapterSettings) -> None:
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(base_model, local_files_only=True)
            base: Any = AutoModelForCausalLM.from_pretrained(base_model, local_files_only=True, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise BadConfiguration(f"{base_model} can't be loaded as a causal language model with its tokenizer.") from error
        self.settings = settings
        self.base_digest = base_digest(base_model)
        self.module: Any = base if settings.kind == "full" else get_peft_model(base, self._lora_config(base))
        self.decoder: Any = base.get_decoder()
        self.head: Any = base.get_output_embeddings()
        self._fix_initial_a()
        for name, parameter in self.module.named_parameters():
            if settings.kind == "ffa_lora" and ".lora_A." in name:
                parameter.requires_grad = False
        self.module.eval()
        self.layout = Layout.of(self._trainable())
        self.start: Vector = self.vector()  # the untrained weights

    def _lora_config(self, base: Any) -> LoraConfig:
        settings = self.settings
        layers = base.config.num_hidden_layers
        chosen = None if settings.last_layers is None else list(range(max(0, layers - settings.last_layers), layers))
        return LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            target_modules=list(settings.targets),
            layers_to_transform=chosen,
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
            base_model_name_or_path="",
        )

    def _fix_initial_a(self) -> None:
        """A ~ U(-1/√in, 1/√in) by a generator seeded from the base: public, equal everywhere, no secret in it."""
        generator = torch.Generator().manual_seed(int(self.base_digest[:15], 16))
        for name, parameter in sorted(self.module.named_parameters()):
            if ".lora_A." in name:
                with torch.no_grad():
                    parameter.uniform_(-1.0, 1.0, generator=generator).div_(parameter.shape[1] ** 0.5)

    def _trainable(self) -> Tensors:
        return {name: p.detach().cpu().numpy().astype(np.float32) for name, p in self.module.named_parameters() if p.requires_grad}

    def vector(self) -> Vector:
        """[layout.length] float32: the trainable tensors."""
        return self.layout.flatten(self._trainable())

    def load_vector(self, vector: Vector) -> None:
        """Set the trainable tensors. Raises BadUpdate (another length, not finite)."""
        tensors = self.layout.unflatten(vector)
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                if name in tensors:
                    parameter.copy_(torch.from_numpy(tensors[name]))

    def save(self, folder: Path) -> None:
        """Write the adapter (or the full weights), read it back, compare. Raises BadUpdate where a bit differs."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.settings.kind == "full":
            state = self.module.state_dict()
            self.module.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            # Tied tensors are stored once; every trained one must be there.
            expected = {name for name, p in self.module.named_parameters() if p.requires_grad}
        else:
            state = self._adapter_state()
            save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
            config = self.module.peft_config["default"]
            config.inference_mode, config.base_model_name_or_path = True, ""  # no path of this machine
            config.save_pretrained(str(folder))
            expected = set(state)
        reloaded = {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
        if not expected <= set(reloaded) or any(not torch.equal(tensor, state[name]) for name, tensor in reloaded.items()):
            shutil.rmtree(folder)
            raise BadUpdate("The weights read back from disk with other bits than were saved; they were deleted.")

    def load(self, folder: Path) -> None:
        """Set the adapter from its files. Raises BadUpdate where they have another shape."""
        state: Mapping[str, torch.Tensor] = load_file(folder / WEIGHTS_FILE)
        own = self._adapter_state()
        if set(state) != set(own) or any(state[name].shape != own[name].shape for name in own):
            raise BadUpdate("The adapter on disk has other tensors or shapes than the federation's settings say.")
        set_peft_model_state_dict(self.module, dict(state))

    def _adapter_state(self) -> dict[str, torch.Tensor]:
        return {
            name: tensor.detach().to(torch.float32).contiguous().clone() for name, tensor in get_peft_model_state_dict(self.module).items()
        }
