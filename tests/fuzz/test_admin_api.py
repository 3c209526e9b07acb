"""Schemathesis on our own OpenAPI: whatever it sends to the administration, no answer is a fault of the gateway."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.pii.keyring import KeyRing
from gateway.serving import valkey
from gateway.stores.keys import ValkeyKeys
from tests.faults.rig import Gateway, Upstream, running

ST = Path(__file__).parents[2] / ".venv-tools" / "bin" / "st"


async def admin_key(data_dir: Path) -> str:
    redis = Redis.from_url(valkey.url(data_dir))
    try:
        async with ValkeyKeys(redis, KeyRing.load(data_dir / "master.key").index_key("api-keys")) as keys:
            text = "sk-llmos-fuzz-admin-0000"
            await keys.create(tenant="local", role="admin", label="fuzz", created_by="test", text=text)
            return text
    finally:
        await redis.aclose()


@pytest.mark.slow
def test_no_request_makes_the_administration_fail(tmp_path):
    if not ST.exists():
        pytest.skip("the tools' environment is missing: make tools")
    (tmp_path / "upstream").mkdir()
    upstream = Upstream(tmp_path / "upstream", ["never sent"])
    gateway = Gateway(tmp_path / "data", upstream.url)
    with running(upstream, gateway):
        key = asyncio.run(admin_key(tmp_path / "data"))
        url = f"{gateway.url}/admin/v1/openapi.json"
        argv = [
            ST,
            "run",
            url,
            "--url",
            f"{gateway.url}/admin/v1",
            "-H",
            f"Authorization: Bearer {key}",
            "--seed",
            "7",
            "--max-examples",
            "12",
        ]
        argv += ["--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing", "--request-timeout", "20", "--no-color"]
        done = subprocess.run([str(each) for each in argv], capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]
        assert gateway.answers("/readyz")
