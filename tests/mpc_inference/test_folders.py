"""Folders for hosts hold what a role needs, in every mode, and never another role's key or the owner's weights."""

from pathlib import Path

import pytest

from mpc_inference import folders, roles
from mpc_inference.config import read_config
from mpc_inference.native.core import core

PRIVATE = {
    "owner": {
        "dealer": {"owner.json", "dealer.key"},
        "party0": {"owner.json", "party0.key", "masked.safetensors"},
        "party1": {"owner.json", "party1.key", "owner.safetensors"},
    },
    "shared": {
        "dealer": {"shared.json", "dealer.key"},
        "party0": {"shared.json", "party0.key", "masked.safetensors"},
        "party1": {"shared.json", "party1.key", "masked.safetensors"},
    },
}


@pytest.mark.parametrize("mode", PRIVATE)
def test_private_weights_reach_their_roles_only(tiny_owner: Path, tiny_shared: Path, mode: str) -> None:
    config = {"owner": tiny_owner, "shared": tiny_shared}[mode]
    made = {folder.name: folder for folder in folders.write(config)}
    for role, names in PRIVATE[mode].items():
        assert {p.name for p in (made[role] / "prepared").iterdir()} == names
    for role in ("client", "blind"):
        assert not list(made[role].rglob("*.safetensors"))
        assert not [p for p in made[role].rglob("*.key") if p.name != "client.key"]


@pytest.mark.parametrize("mode", PRIVATE)
def test_a_role_loads_from_its_folder_alone(tiny_owner: Path, tiny_shared: Path, mode: str) -> None:
    config = {"owner": tiny_owner, "shared": tiny_shared}[mode]
    made = {folder.name: folder for folder in folders.write(config)}
    for party in (0, 1):
        deployment = read_config(made[f"party{party}"] / "mpc.yaml")
        assert roles.load_party(deployment, party, core(), lambda done, total: None).digest == deployment.digest
    assert roles.load_dealer(read_config(made["dealer"] / "mpc.yaml"), core(), lambda done, total: None).correlate is not None
