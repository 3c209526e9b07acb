"""A store that can't be reached, or answers with an error, is StoreUnavailable and nothing else.

Every adapter talks to the store inside `reaching`. The message names what could not be done, never a key or a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from gateway.errors import StoreUnavailable

RETRY_AFTER_S = 1.0


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Turn what the Redis client raises into StoreUnavailable("… `what` …")."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as failed:
        raise StoreUnavailable(
            f"The store could not {what}; nothing was sent upstream. Try again, or look at `llmos doctor`.",
            retry_after_s=RETRY_AFTER_S,
        ) from failed
