"""A deployment cut into folders, one a host: each holds what its host needs, and no other role's key.

dealer, party0, party1 get the prepared model, the authority's certificate, their own pair (a party its sealing key too); client, for the
gateway's host, gets the model's directory and the client's pair; blind, for callers who share by themselves, gets the model's directory and
the parties' public sealing keys, and no certificate. ca.key stays where `init` ran: keep it offline. Paths inside are relative.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mpc_inference.certificates import ROLES
from mpc_inference.config import BlindTerms, read_config, write_config

_MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "*.safetensors")


def write(config: Path) -> list[Path]:
    """Write the folders beside `config`; answers them. Files that are there already are replaced. Raises ConfigInvalid."""
    deployment = read_config(config)
    made = []
    for role in (*ROLES, "blind"):
        folder = config.parent / "hosts" / role
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        made.append(folder)
        if role in ("client", "blind"):
            for pattern in _MODEL_FILES:
                for file in deployment.model.glob(pattern):
                    _place(file, folder / "model" / file.name)
        else:
            _place(deployment.prepared, folder / "prepared.safetensors")
        if role == "blind":
            terms = BlindTerms(
                model=Path("model"),
                digest=deployment.digest,
                seal_keys=deployment.seal_keys or ("", ""),
                context_tokens=deployment.context_tokens,
                queue_requests=deployment.queue_requests,
                deadline_s=deployment.deadline_s,
            )
            write_config(folder / "blind.yaml", terms)
            continue
        for name in ("ca.crt", f"{role}.crt", f"{role}.key", f"{role}.seal.key"):
            if (deployment.certificates / name).exists():
                _place(deployment.certificates / name, folder / "certificates" / name)
        inside = {"model": Path("model"), "prepared": Path("prepared.safetensors"), "certificates": Path("certificates")}
        write_config(folder / "mpc.yaml", deployment.model_copy(update=inside))
    return made


def _place(source: Path, target: Path) -> None:
    """The same bytes at another path; linked where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)
