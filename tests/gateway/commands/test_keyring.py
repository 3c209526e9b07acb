"""A rotation from end to end: conversations made before it are read after the old key is gone, and no step runs ahead of a worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.exchange import ConversationScope
from gateway.pii.keyring import KeyRing
from gateway.pii.vault import Claim, Record, Vault
from gateway.stores.key_holders import KeyHolders
from gateway.stores.vault import RedisVaultStore

ROOT = Path(__file__).parents[3]
SCOPE = ConversationScope("clinic", "k1", "c1")


def llmos(data_dir: Path, valkey: str, *argv: str) -> subprocess.CompletedProcess:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LLMOS_DATA_DIR": str(data_dir), "LLMOS_REDIS_URL": valkey}
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", "keyring", *argv], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


async def remembered(valkey: str, ring: KeyRing, write: bool) -> list[str]:
    redis = Redis.from_url(valkey)
    try:
        vault = Vault(RedisVaultStore(redis), ring)
        if write:
            conversation = vault.begin(SCOPE)
            field = conversation.field_of("PERSON", "sarah connor")
            sealed = conversation.seal(field, Record("PERSON", "sarah connor", "Xenia"))
            await vault.settle(SCOPE, conversation, [Claim(field, ((conversation.token_hash("Xenia"), sealed),))], 600)
        return [record.value for record in await vault.read(SCOPE)]
    finally:
        await redis.aclose()


async def test_rotate_activate_reencrypt_retire(tmp_path, valkey):
    missing = llmos(tmp_path, valkey, "status")
    assert missing.returncode == 1
    assert not (tmp_path / "master.key").exists(), "only `init` makes a ring"
    assert "k1" in llmos(tmp_path, valkey, "init").stdout
    assert "stands already" in llmos(tmp_path, valkey, "init").stderr
    path = tmp_path / "master.key"
    assert await remembered(valkey, KeyRing.load(path), write=True) == ["sarah connor"]
    assert "k1           current  1 conversations" in llmos(tmp_path, valkey, "status").stdout
    assert "llmos keyring activate k2" in llmos(tmp_path, valkey, "rotate").stdout
    assert KeyRing.load(path).current_id == "k1"
    assert "1 current already" in llmos(tmp_path, valkey, "reencrypt").stdout
    assert llmos(tmp_path, valkey, "activate", "k2").returncode == 0
    refused = llmos(tmp_path, valkey, "retire", "k1")
    assert refused.returncode == 1
    assert "reencrypt" in refused.stderr
    assert "1 brought under it" in llmos(tmp_path, valkey, "reencrypt").stdout
    assert "1 current already" in llmos(tmp_path, valkey, "reencrypt").stdout
    assert llmos(tmp_path, valkey, "retire", "k1").returncode == 0
    ring = KeyRing.load(path)
    assert ring.ids == ["k2"]
    assert await remembered(valkey, ring, write=False) == ["sarah connor"]


@pytest.fixture
async def worker(valkey):
    """Announces a ring as a running worker does."""
    redis = Redis.from_url(valkey)
    yield KeyHolders(redis).announced
    await redis.aclose()


async def test_no_step_runs_ahead_of_a_worker_that_lacks_the_key(tmp_path, valkey, worker):
    llmos(tmp_path, valkey, "init")
    path = tmp_path / "master.key"
    old = KeyRing.load(path)
    assert await remembered(valkey, old, write=True) == ["sarah connor"]
    llmos(tmp_path, valkey, "rotate")
    staged = KeyRing.load(path)
    async with worker(old):
        refused = llmos(tmp_path, valkey, "activate", "k2")
        assert (refused.returncode, KeyRing.load(path).current_id) == (1, "k1")
        assert "can't open what is written under k2" in refused.stderr
        [said] = [line for line in llmos(tmp_path, valkey, "status").stdout.splitlines() if line.startswith("worker")]
        name = said.split()[1]
        assert said == f"worker {name} holds k1; it writes under k1"
        assert name in refused.stderr
    async with worker(old.staged()):
        assert llmos(tmp_path, valkey, "activate", "k2").returncode == 1, "another key of the same id"
    async with worker(staged):
        assert llmos(tmp_path, valkey, "activate", "k2").returncode == 0
        refused = llmos(tmp_path, valkey, "reencrypt")
        assert refused.returncode == 1
        assert "does not write under k2" in refused.stderr
        assert "1 brought under it" in llmos(tmp_path, valkey, "reencrypt", "--force").stdout
        refused = llmos(tmp_path, valkey, "retire", "k1")
        assert refused.returncode == 1
        assert "writes under k1" in refused.stderr
    async with worker(KeyRing.load(path)):
        assert llmos(tmp_path, valkey, "retire", "k1").returncode == 0
    assert await remembered(valkey, KeyRing.load(path), write=False) == ["sarah connor"]


async def test_force_activates_whatever_the_workers_hold(tmp_path, valkey, worker):
    llmos(tmp_path, valkey, "init")
    old = KeyRing.load(tmp_path / "master.key")
    llmos(tmp_path, valkey, "rotate")
    async with worker(old):
        assert llmos(tmp_path, valkey, "activate", "k2", "--force").returncode == 0
    assert KeyRing.load(tmp_path / "master.key").current_id == "k2"
