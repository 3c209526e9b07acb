"""A rotation from end to end: conversations made before it are read after the old key is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from redis.asyncio import Redis

from gateway.exchange import ConversationScope
from gateway.pii.keyring import KeyRing
from gateway.pii.vault import Claim, Record, Vault
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


async def test_rotate_reencrypt_retire(tmp_path, valkey):
    assert "k1" in llmos(tmp_path, valkey, "init").stdout
    assert "stands already" in llmos(tmp_path, valkey, "init").stderr
    path = tmp_path / "master.key"
    assert await remembered(valkey, KeyRing.load(path), write=True) == ["sarah connor"]
    assert "k1           current  1 conversations" in llmos(tmp_path, valkey, "status").stdout
    assert llmos(tmp_path, valkey, "rotate").returncode == 0
    refused = llmos(tmp_path, valkey, "retire", "k1")
    assert refused.returncode == 1
    assert "reencrypt" in refused.stderr
    assert "1 brought under it" in llmos(tmp_path, valkey, "reencrypt").stdout
    assert "1 current already" in llmos(tmp_path, valkey, "reencrypt").stdout
    assert llmos(tmp_path, valkey, "retire", "k1").returncode == 0
    ring = KeyRing.load(path)
    assert ring.ids == ["k2"]
    assert await remembered(valkey, ring, write=False) == ["sarah connor"]
