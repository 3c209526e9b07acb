"""`llmos roster`, by the command itself, and then a request's detection that finds the person."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.pii.cached_detector import CachedDetector
from gateway.pii.detector_pool import DetectorPool
from gateway.pii.keyring import KeyRing
from gateway.pii.roster.current import Rosters
from gateway.stores.roster import RedisRosterStore
from policies.schema import Action, EntityRule, Policy

ROOT = Path(__file__).parents[3]
PEOPLE = "name,aliases,phone,CUSTOMER_NUMBER\nQuill Zyx,zyxy,+1 415 867 5309,KD-771234\n"


def roster(directory: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLMOS_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "LLMOS_DATA_DIR": str(directory), "LLMOS_REDIS_URL": url}
    command = [sys.executable, "-m", "gateway.cli", "roster", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    return path


def test_load_status_add_clear(valkey: str, tmp_path: Path, people: Path) -> None:
    done = roster(tmp_path, valkey, "load", str(people), "--tenant", "acme")
    assert done.returncode == 0, done.stderr
    assert "1 people" in done.stdout
    assert "CUSTOMER_NUMBER" in done.stdout
    more = tmp_path / "more.jsonl"
    more.write_text('{"name": "Sarah Connor"}\n')
    assert "2 people" in roster(tmp_path, valkey, "load", str(more), "--tenant", "acme", "--add").stdout
    assert "2 people" in roster(tmp_path, valkey, "status", "--tenant", "acme").stdout
    assert "no roster" in roster(tmp_path, valkey, "status", "--tenant", "other").stdout
    assert "cleared" in roster(tmp_path, valkey, "clear", "--tenant", "acme", "--yes").stdout
    assert "no roster" in roster(tmp_path, valkey, "status", "--tenant", "acme").stdout


def test_a_file_that_can_not_be_used_changes_nothing_and_is_not_quoted(valkey: str, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("name,phone\nSarah Canary\n")
    done = roster(tmp_path, valkey, "load", str(path), "--tenant", "acme")
    assert done.returncode == 1
    assert "Line 2" in done.stderr
    assert "Canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(240)
def test_detection_finds_the_known_people_whatever_the_policy_asks(valkey: str, tmp_path: Path, people: Path) -> None:
    assert roster(tmp_path, valkey, "load", str(people), "--tenant", "acme").returncode == 0
    nothing = Policy(id="emails", entities={"EMAIL_ADDRESS": EntityRule()})
    allows = Policy(id="allows", entities={"PERSON": EntityRule(action=Action.ALLOW)})
    text = "tell zyx, quill (kd 771234) and ZYXY about it"

    async def detect() -> None:
        async with Redis.from_url(valkey) as redis:
            rosters = Rosters(RedisRosterStore(redis), KeyRing.load(tmp_path / "master.key"), tmp_path / "rosters", max_age_s=0)
            pool = DetectorPool(1, timeout_s=60, start_timeout_s=200)
            await pool.start()
            detector = CachedDetector(pool, None, key=b"k" * 16, rosters=rosters)
            try:
                (found,) = await detector.detect([text], nothing, tenant="acme")
                assert [text[s.start : s.end] for s in found] == ["zyx, quill", "kd 771234", "ZYXY"]
                assert await detector.detect([text], nothing, tenant="other") == [()]
                assert await detector.detect([text], nothing) == [()]
                (found,) = await detector.detect([text], allows, tenant="acme")
                assert [s.entity for s in found] == ["PERSON", "CUSTOMER_NUMBER", "PERSON"]
                await rosters.clear("acme")
                assert await detector.detect([text], nothing, tenant="acme") == [()]
            finally:
                await pool.stop()

    asyncio.run(detect())
