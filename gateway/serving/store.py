"""Which store the settings name; waits at start for it to answer, and refuses one that is not fit (see gateway.stores.connection).

An orchestrator starts everything at once, so a store that comes up a little later is no failure; one that may evict vault entries is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.errors import StoreUnavailable
from gateway.serving import valkey
from gateway.settings import Settings
from gateway.stores.connection import StoreAddress, check_fitness, connect

WAIT_S = 30.0
PAUSE_S = 0.5
TIMEOUT_S = 2.0


class StoreNotReadyError(RuntimeError):
    """The store did not answer in time, or is not fit. The message says how to mend it."""


def store_address(settings: Settings) -> StoreAddress:
    """The server that the settings name, or the embedded Valkey of the data directory."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else valkey.url(settings.data_dir)
    return StoreAddress(url, settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file)


async def await_store(settings: Settings, say: Callable[[str], None], wait_s: float = WAIT_S) -> None:
    """Raises StoreNotReadyError."""
    deadline_s, told = time.monotonic() + wait_s, False
    redis = connect(store_address(settings), timeout_s=TIMEOUT_S, max_connections=1)
    try:
        while True:
            try:
                await check_fitness(redis)
            except StoreUnavailable as error:
                if error.retry_after_s is None:  # it answered, and is not fit: waiting does not help
                    raise StoreNotReadyError(str(error)) from None
                if time.monotonic() > deadline_s:
                    raise StoreNotReadyError(f"The store did not answer within {wait_s:.0f} s: {error}") from None
            else:
                return
            if not told:
                say("waiting for the store …")
                told = True
            await asyncio.sleep(PAUSE_S)
    finally:
        await redis.aclose()
