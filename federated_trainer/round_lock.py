"""One round at a time: a lock in Redis with a fencing token.

The token grows with every holder. What a holder writes carries its token, and the store takes no write with a smaller one
(`fenced`): a scheduler that was asleep past its lock can't act on it any more. The lock ends by itself when its holder dies.
Not covered: a Redis that loses acknowledged writes (a failover without waiting for replicas) can hand out a token twice.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import redis

from federated_trainer.errors import RoundLocked

_ACQUIRE = """
if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('incr', KEYS[2]) end
return 0
"""
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_FENCED = """
if tonumber(ARGV[1]) < tonumber(redis.call('hget', KEYS[1], 'token') or '0') then return 0 end
redis.call('hset', KEYS[1], 'token', ARGV[1], ARGV[2], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A held lock: `token` is larger than that of every holder before."""

    owner: str
    token: int


class RoundLock:
    """The lock of one federation. `hold_s` must be longer than the time between two renewals."""

    def __init__(self, client: redis.Redis, federation: str, hold_s: float = 60.0) -> None:
        self._client = client
        self._lock = f"llmos:federate:{{{federation}}}:lock"
        self._counter = f"llmos:federate:{{{federation}}}:token"
        self._state = f"llmos:federate:{{{federation}}}:state"
        self._hold_ms = int(hold_s * 1000)

    def acquire(self) -> Held:
        """Raises RoundLocked where another holds it."""
        owner = secrets.token_hex(16)
        token = int(str(self._client.eval(_ACQUIRE, 2, self._lock, self._counter, owner, str(self._hold_ms))))
        if token == 0:
            raise RoundLocked("Another scheduler is running a round of this federation; this one waits for its next time.")
        return Held(owner, token)

    def renew(self, held: Held) -> None:
        """Raises RoundLocked where the lock was lost (this process slept too long)."""
        if not int(str(self._client.eval(_RENEW, 1, self._lock, held.owner, str(self._hold_ms)))):
            raise RoundLocked("The lock of the round was lost; another scheduler may have taken over.")

    def release(self, held: Held) -> None:
        """Gives the lock back; without effect where it is another's by now."""
        self._client.eval(_RELEASE, 1, self._lock, held.owner)

    def write(self, held: Held, name: str, value: str) -> None:
        """Write a field of the schedule's state. Raises RoundLocked where a later holder has written already."""
        if not int(str(self._client.eval(_FENCED, 1, self._state, str(held.token), name, value))):
            raise RoundLocked("A later scheduler has written; this one's round is out of date.")

    def read(self, name: str) -> str | None:
        value = self._client.hget(self._state, name)
        return value.decode() if isinstance(value, bytes) else None
