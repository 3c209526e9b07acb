"""A deployment cut into folders, one a host: each holds what its host needs, and no other role's key.

dealer, party0, party1 get what they load of the prepared model, the authority's certificate, their own pair (a party its sealing key too);
client, for the gateway's host, gets the model's tokenizer and the client's pair; blind, for callers who share by themselves, gets the
tokenizer and the parties' public sealing keys, and no certificate. With open weights these two get the model's file besides, for embedding
and head; private weights stay with their owner. ca.key stays where `init` ran: keep it offline. Paths inside are relative.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mpc_inference.certificates import ROLES
from mpc_inference.config import BlindTerms, Deployment, read_config, write_config

_TOKENIZER = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_OF_PARTY_1 = {"owner": "owner", "shared": "masked"}


def write(config: Path) -> list[Path]:
    """Write the folders beside `config`; answers them. Files that are there already are replaced. Raises ConfigInvalid."""
    deployment = read_config(config)
    made = []
    for role in (*ROLES, "blind"):
        folder = config.parent / "hosts" / role
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        made.append(folder)
        inside = Path("prepared") / deployment.prepared.name
        if role in ("client", "blind"):
            for pattern in (*_TOKENIZER, *(("*.safetensors",) if deployment.mode == "public" else ())):
                for file in deployment.model.glob(pattern):
                    _place(file, folder / "model" / file.name)
        else:
            for name in _prepared_files(deployment, role):
                _place(deployment.prepared.with_name(name), folder / "prepared" / name)
        if role == "blind":
            terms = BlindTerms(
                mode=deployment.mode,
                reveal=deployment.reveal,
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
        paths = {"model": Path("model"), "prepared": inside, "certificates": Path("certificates")}
        write_config(folder / "mpc.yaml", deployment.model_copy(update=paths))
    return made


def _prepared_files(deployment: Deployment, role: str) -> tuple[str, ...]:
    """What a role loads (`mpc_inference.roles`), beside `deployment.prepared`."""
    if deployment.mode == "public":
        return (deployment.prepared.name,)
    weights = {"dealer": (), "party0": ("masked.safetensors",), "party1": (f"{_OF_PARTY_1[deployment.mode]}.safetensors",)}
    return (deployment.prepared.name, f"{role}.key", *weights[role])


def _place(source: Path, target: Path) -> None:
    """The same bytes at another path; linked where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)
