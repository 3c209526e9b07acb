"""Which store is fit: it is there, takes writes, and drops nothing."""

import asyncio
import subprocess
import time

import pytest
import redis as blocking_redis

from gateway.errors import StoreUnavailable
from gateway.serving import valkey
from gateway.serving.free_ports import free_port
from gateway.stores.connection import StoreAddress, check_fitness, connect


@pytest.fixture
def pair(tmp_path):
    """A primary on a port of its own, and a replica of it."""
    port = free_port()
    folders = [tmp_path / "one", tmp_path / "two"]
    commands = [[*valkey.command(folder)] for folder in folders]
    commands[0][commands[0].index("--port") + 1] = str(port)
    commands[1] += ["--replicaof", f"127.0.0.1 {port}"]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    try:
        for folder in folders:
            end_s = time.monotonic() + 20
            while not valkey.answers(valkey.socket_path(folder)):
                assert time.monotonic() < end_s
                time.sleep(0.05)
        yield [valkey.url(folder) for folder in folders]
    finally:
        for process in running:
            process.kill()
            process.wait()


async def fitness(url):
    client = connect(StoreAddress(url), timeout_s=2, max_connections=2)
    try:
        await check_fitness(client)
    finally:
        await client.aclose()


async def test_a_primary_is_fit_a_replica_is_not(pair):
    await fitness(pair[0])
    with pytest.raises(StoreUnavailable, match="replica") as refused:
        await fitness(pair[1])
    assert refused.value.retry_after_s is None, "waiting does not mend it"


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_store_that_may_evict_is_refused_with_the_command_that_mends_it(pair, policy):
    with blocking_redis.Redis.from_url(pair[0]) as admin:
        admin.config_set("maxmemory-policy", policy)
    with pytest.raises(StoreUnavailable, match=rf"{policy}.*CONFIG SET maxmemory-policy noeviction"):
        await fitness(pair[0])


async def test_a_store_that_is_not_there_is_worth_a_wait(tmp_path):
    with pytest.raises(StoreUnavailable) as refused:
        await fitness(f"unix://{tmp_path}/nobody.sock")
    assert refused.value.retry_after_s


async def test_more_callers_than_connections_wait_their_turn(pair):
    client = connect(StoreAddress(pair[0]), timeout_s=5, max_connections=4)
    assert await asyncio.gather(*(client.incr("n") for _ in range(200)))
    assert await client.get("n") == b"200"
    await client.aclose()


def test_certificates_are_for_tls_only_and_a_password_stays_out_of_repr(tmp_path):
    plain = StoreAddress("redis://:secret@h/0", ca_file=tmp_path / "ca.pem")
    assert plain.tls() == {}
    assert "secret" not in repr(plain)
    secure = StoreAddress("rediss://h/0", ca_file=tmp_path / "ca.pem")
    assert secure.tls() == {"ssl_check_hostname": True, "ssl_ca_certs": str(tmp_path / "ca.pem")}
