"""Settings are read whole or refused with the field's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from federated_trainer.errors import BadConfiguration
from federated_trainer.roster import make_identity, read_private_key, read_roster
from federated_trainer.settings import FederationSettings, InstitutionSettings, read_settings

INSTITUTION = """name = "a"
data = "train.jsonl"
base_model = "/m"
identity_key = "k"
roster = "r"
ledger = "l"
"""


def test_relative_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "i.toml").write_text(INSTITUTION)
    own = read_settings(tmp_path / "i.toml", InstitutionSettings)
    assert own.data == tmp_path / "train.jsonl"
    assert own.base_model == Path("/m")
    assert own.require_privacy
    assert own.require_secure_sum


@pytest.mark.parametrize(
    ("text", "what"),
    [(INSTITUTION + "max_epsilon = 9.0", "max_epsilon above 8"), (INSTITUTION + "typo = 1", "typo"), ("name =", "no TOML"), ("", "data")],
)
def test_bad_institution_file(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "i.toml").write_text(text)
    with pytest.raises(BadConfiguration, match=what):
        read_settings(tmp_path / "i.toml", InstitutionSettings)


def test_open_aggregation_needs_local_noise() -> None:
    paths = dict.fromkeys(("base_model", "data_dir", "roster", "held_out", "signing_key"), "/x")
    with pytest.raises(ValueError, match="privacy"):
        FederationSettings.model_validate(paths | {"registry": "file:///x", "aggregation": "krum"})


def test_keys_and_rosters(tmp_path: Path) -> None:
    make_identity(tmp_path / "k")
    assert (tmp_path / "k").stat().st_mode & 0o077 == 0
    assert len(read_private_key(tmp_path / "k")) == 32
    with pytest.raises(BadConfiguration):
        read_private_key(tmp_path / "absent")
    (tmp_path / "r").write_text('{"institutions": [{"name": "a", "identity": "00"}]}')
    with pytest.raises(BadConfiguration):
        read_roster(tmp_path / "r")
