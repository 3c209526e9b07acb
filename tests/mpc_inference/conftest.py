"""The tiny deployment, and certificates of another authority."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mpc_inference import certificates
from mpc_inference.config import read_config


@pytest.fixture(scope="session")
def tiny(deploy_tiny_mpc: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `public` deployment of the tiny model: its configuration file."""
    return deploy_tiny_mpc(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="session")
def tiny_model(tiny: Path) -> Path:
    """The tiny model's directory."""
    return read_config(tiny).model


@pytest.fixture(scope="session")
def tiny_owner(deploy_tiny_mpc: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `owner` deployment."""
    return deploy_tiny_mpc(tmp_path_factory.mktemp("owner"), "owner")


@pytest.fixture(scope="session")
def tiny_shared(deploy_tiny_mpc: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `shared` deployment."""
    return deploy_tiny_mpc(tmp_path_factory.mktemp("shared"), "shared")


@pytest.fixture(params=["public", "owner", "shared"])
def tiny_each(request: pytest.FixtureRequest) -> Path:
    """Each mode's deployment in turn."""
    name = {"public": "tiny"}.get(request.param, f"tiny_{request.param}")
    return Path(request.getfixturevalue(name))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of another authority."""
    path = tmp_path_factory.mktemp("stranger") / "certificates"
    certificates.create(path)
    return path
