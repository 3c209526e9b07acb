"""Policies in the store, version by version, and on every replica a snapshot that follows them within a second.

A write is one Lua script that succeeds only if nobody wrote since the writer read (the generation), so validation,
the ETag check and the check for rivals all hold for the state that is written. Each write publishes the new generation;
a replica also polls, so a lost message costs one poll interval, not an update. `resolve` reads the snapshot in memory.
A version that this replica can't read never replaces one that it could.

What an earlier version of LLMOS stored is not to protect less without a word. A field that it lacks has its default; without `entities`,
those of the pack `strict` hold. A policy that protects or routes by an entity which nothing finds refuses what it would serve. An entity
that detection learned to find since is not added: nobody reviewed that.

It does not protect against somebody who can write to the store; the audit log names each change made through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import EditConflict, InvalidPolicy, NotFound, PolicyRefusal, StoreUnavailable
from gateway.exchange import Principal
from gateway.stores.failures import reaching
from policies.load import PolicyError, digest, load_pack, load_policy, pack_text, unfound_entities
from policies.resolve import Subject, choose, rival
from policies.schema import Policy

CURRENT = "llmos:{policies}:current"
GENERATION = "llmos:{policies}:generation"
CHANNEL = "llmos:policies"
MAX_WRITE_ATTEMPTS = 20
WITHOUT_ENTITIES = "strict"  # the pack whose entities hold where a stored policy has no such field, which an empty one is not

_WRITE = """
if (redis.call('GET', KEYS[3]) or '0') ~= ARGV[2] then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[3])
if ARGV[4] == '1' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
redis.call('PUBLISH', ARGV[5], redis.call('INCR', KEYS[3]))
return 1
"""

_log = structlog.get_logger(__name__)

Check = Callable[[Policy], Awaitable[None]]
_UNREADABLE = (ValidationError, TypeError, KeyError, ValueError)  # what `PolicyVersion.from_json` raises


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version: what was written (`source`), what it means (`policy`), and who wrote it when and why."""

    version: int
    policy: Policy = field(repr=False)
    source: str = field(repr=False)
    author: str
    unix_s: float
    reason: str
    removed: bool = False

    @property
    def id(self) -> str:
        return self.policy.id

    @property
    def etag(self) -> str:
        """A strong validator (RFC 9110 section 8.8.3) of this version."""
        return f'"{self.version}-{digest(self.policy)[:12]}"'

    def to_json(self) -> str:
        return json.dumps(
            {
                "version": self.version,
                "policy": self.policy.model_dump(mode="json"),
                "source": self.source,
                "author": self.author,
                "unix_s": self.unix_s,
                "reason": self.reason,
                "removed": self.removed,
            }
        )

    @classmethod
    def from_json(cls, raw: bytes | str) -> PolicyVersion:
        """Raises ValidationError for a policy of another schema version."""
        plain = json.loads(raw)
        policy = {"entities": load_pack(WITHOUT_ENTITIES).entities, **plain["policy"]}
        return cls(**{**plain, "policy": Policy.model_validate(policy)})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All policies that serve, at one generation. `unfound` names, by policy, the entities that it protects and nothing finds."""

    generation: int = -1
    current: Mapping[str, PolicyVersion] = field(default_factory=dict)
    unfound: Mapping[str, Sequence[str]] = field(default_factory=dict)


def history_key(policy_id: str) -> str:
    return f"llmos:{{policies}}:history:{policy_id}"


class ValkeyPolicies:
    """Policies behind the port `PolicyStore`, with their administration. Use as an async context manager."""

    def __init__(self, redis: Redis, *, poll_s: float = 0.5, max_age_s: float = 1.0, checks: Sequence[Check] = ()) -> None:
        """Each of `checks` may refuse a policy before it is written (the recall floor, the DP rule), raising InvalidPolicy."""
        self._redis = redis
        self._poll_s = poll_s
        self._max_age_s = max_age_s
        self._checks = tuple(checks)
        self._snapshot = Snapshot()
        self._refreshed_at = float("-inf")
        self._refreshing = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self._write = redis.register_script(_WRITE)

    async def __aenter__(self) -> ValkeyPolicies:
        await self._refresh()
        self._watcher = asyncio.create_task(self._watch(), name="policies-watch")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # asyncio.wait_for on Python 3.11 can swallow a cancellation that meets a result, so ask until it is done
        while self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()
            await asyncio.wait({self._watcher}, timeout=0.1)

    @property
    def generation(self) -> int:
        return self._snapshot.generation

    async def resolve(self, principal: Principal, model: str, path: str) -> tuple[Policy, int]:
        """The policy that serves, and its version. Raises PolicyRefusal, or StoreUnavailable where the snapshot is too old."""
        snapshot = await self._fresh()
        subject = Subject(principal.tenant, principal.key_id, model, path, principal.policies)
        policy = choose((entry.policy for entry in snapshot.current.values()), subject)
        if policy is None:
            raise PolicyRefusal(
                "No policy serves this key, model and path. An administrator can apply one with `llmos policy apply`.", param="model"
            )
        if policy.id in snapshot.unfound:
            raise PolicyRefusal(_says_unfound(policy.id, snapshot.unfound[policy.id]), param="model")
        return policy, snapshot.current[policy.id].version

    async def all(self) -> list[PolicyVersion]:
        """The serving version of every policy, by id."""
        return [entry for _, entry in sorted((await self._fresh()).current.items())]

    async def get(self, policy_id: str) -> PolicyVersion:
        """The serving version. Raises NotFound."""
        return _named((await self._read()).current, policy_id)

    async def history(self, policy_id: str) -> list[PolicyVersion]:
        """Every version, the newest first. Raises NotFound, StoreUnavailable."""
        with reaching("read the history of a policy"):
            raw = await self._redis.lrange(history_key(policy_id), 0, -1)
        if not raw:
            raise NotFound(f"There is no policy {policy_id!r}.")
        try:
            return [PolicyVersion.from_json(entry) for entry in reversed(raw)]
        except _UNREADABLE:
            raise StoreUnavailable(f"A version of policy {policy_id!r} in the store can't be read by this version of LLMOS.") from None

    async def apply(self, source: str, *, author: str, reason: str, if_match: str | None = None) -> PolicyVersion:
        """Write a new version of the policy in `source` (YAML).

        `if_match` is the ETag of the version that the author saw, `*` for any, None for a policy that must be new.
        Raises InvalidPolicy, EditConflict, StoreUnavailable. Until it returns, the old version serves.
        """
        return await self._put(lambda snapshot: (parse_against(source, snapshot), source), author, reason, if_match)

    async def _put(
        self, version_of: Callable[[Snapshot], tuple[Policy, str]], author: str, reason: str, if_match: str | None
    ) -> PolicyVersion:
        for _ in range(MAX_WRITE_ATTEMPTS):
            snapshot = await self._read()
            policy, source = version_of(snapshot)
            if unfound := unfound_entities(policy):
                raise InvalidPolicy(_says_unfound(policy.id, unfound), param="entities")
            _match_etag(snapshot.current.get(policy.id), policy.id, if_match)
            if (tie := rival(policy, (entry.policy for entry in snapshot.current.values()))) is not None:
                raise InvalidPolicy(
                    f"Policy {tie.id!r} already serves the same tenants, keys, models and paths just as specifically; "
                    "narrow `match` of one of the two.",
                    param="match",
                )
            for check in self._checks:
                await check(policy)
            written = await self._append(snapshot, policy, source, author=author, reason=reason)
            if written is not None:
                return written
        raise EditConflict("Others kept writing policies; read the current version and try again.")

    async def rollback(self, policy_id: str, version: int, *, author: str, reason: str, if_match: str | None = "*") -> PolicyVersion:
        """Write an old version again, as a new one: what it meant then, even where a base that it extends has changed since.

        Raises NotFound, InvalidPolicy, EditConflict.
        """
        old = next((entry for entry in await self.history(policy_id) if entry.version == version), None)
        if old is None:
            raise NotFound(f"Policy {policy_id!r} has no version {version}.")
        return await self._put(lambda _: (old.policy, old.source), author, reason or f"rollback to version {version}", if_match)

    async def remove(self, policy_id: str, *, author: str, reason: str, if_match: str) -> PolicyVersion:
        """Take a policy out of service; its history stays. Raises NotFound, EditConflict."""
        for _ in range(MAX_WRITE_ATTEMPTS):
            snapshot = await self._read()
            entry = _named(snapshot.current, policy_id)
            _match_etag(entry, policy_id, if_match)
            written = await self._append(snapshot, entry.policy, entry.source, author=author, reason=reason, removed=True)
            if written is not None:
                return written
        raise EditConflict("Others kept writing policies; read the current version and try again.")

    async def seed(self, pack: str) -> None:
        """Apply a pack as it is where the store holds no policy at all: a first start serves something."""
        if not (await self._read()).current:
            with contextlib.suppress(EditConflict):  # another replica was first, with the same pack
                await self.apply(pack_text(pack), author="llmos", reason="first start")

    async def _append(
        self, snapshot: Snapshot, policy: Policy, source: str, *, author: str, reason: str, removed: bool = False
    ) -> PolicyVersion | None:
        """None where somebody else wrote since `snapshot` was read."""
        with reaching("write a policy"):
            count = await self._redis.llen(history_key(policy.id))
            entry = PolicyVersion(count + 1, policy, source, author, time.time(), reason, removed)
            done = await self._write(
                keys=[CURRENT, history_key(policy.id), GENERATION],
                args=[policy.id, str(max(snapshot.generation, 0)), entry.to_json(), "1" if removed else "0", CHANNEL],
            )
        if not done:
            return None
        await self._refresh()
        return entry

    async def _fresh(self) -> Snapshot:
        """The snapshot, confirmed within `max_age_s`; a replica cut off from the store does not serve old policies."""
        if time.monotonic() - self._refreshed_at > self._max_age_s:
            await self._refresh()
        return self._snapshot

    async def _read(self) -> Snapshot:
        await self._refresh()
        return self._snapshot

    async def _refresh(self) -> None:
        async with self._refreshing:
            began = time.monotonic()
            with reaching("read the policies"):
                generation = int(await self._redis.get(GENERATION) or 0)
                if generation != self._snapshot.generation:
                    async with self._redis.pipeline(transaction=True) as pipe:
                        pipe.get(GENERATION)
                        pipe.hgetall(CURRENT)
                        raw_generation, raw = await pipe.execute()
                    self._snapshot = self._parsed(int(raw_generation or 0), raw)
            self._refreshed_at = began

    def _parsed(self, generation: int, raw: Mapping[bytes, bytes]) -> Snapshot:
        current: dict[str, PolicyVersion] = {}
        for name_bytes, entry in raw.items():
            name = name_bytes.decode()
            try:
                current[name] = PolicyVersion.from_json(entry)
            except _UNREADABLE:
                kept = self._snapshot.current.get(name)
                _log.error("policy_unreadable", policy_id=name, kept_version=kept.version if kept else None)
                if kept is None:
                    raise StoreUnavailable(f"Policy {name!r} in the store can't be read by this version of LLMOS.") from None
                current[name] = kept
        unfound = {name: entities for name, entry in current.items() if (entities := unfound_entities(entry.policy))}
        for name, entities in unfound.items():
            _log.error("policy_protects_what_nothing_finds", policy_id=name, entity=entities)
        return Snapshot(generation, MappingProxyType(current), MappingProxyType(unfound))

    async def _watch(self) -> None:
        """Refresh at each message, and at least every `poll_s`; survive the store's absence."""
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(CHANNEL)
                    while True:
                        await self._refresh()
                        await subscription.get_message(ignore_subscribe_messages=True, timeout=self._poll_s)
            except (RedisError, OSError, StoreUnavailable) as failed:
                _log.warning("policies_unreachable", error=type(failed).__name__)
                await asyncio.sleep(self._poll_s)


def parse_against(source: str, snapshot: Snapshot) -> Policy:
    """The policy in `source`, whose `extends` may name a pack or a serving policy. Raises InvalidPolicy."""
    try:
        return load_policy(source, lambda name: entry.source if (entry := snapshot.current.get(name)) else None)
    except PolicyError as refused:
        raise InvalidPolicy(str(refused), param="source") from None


def _says_unfound(policy_id: str, entities: Sequence[str]) -> str:
    return (
        f"Policy {policy_id!r} protects {', '.join(entities)}, which this version of LLMOS does not find; an administrator can apply "
        "it again without, under the entity's new name, or with a recognizer of its own."
    )


def _named(current: Mapping[str, PolicyVersion], policy_id: str) -> PolicyVersion:
    entry = current.get(policy_id)
    if entry is None:
        raise NotFound(f"There is no policy {policy_id!r}.")
    return entry


def _match_etag(entry: PolicyVersion | None, policy_id: str, if_match: str | None) -> None:
    """RFC 9110 section 13.1.1: If-Match holds for the listed validator, `*` for anything that is there."""
    if if_match is None:
        if entry is not None:
            raise EditConflict(f"Policy {policy_id!r} exists already; send If-Match with the ETag of the version you changed.")
    elif entry is None:
        raise EditConflict(f"Policy {policy_id!r} does not exist (any more); leave If-Match out to create it.")
    elif if_match not in ("*", entry.etag):
        raise EditConflict(f"Policy {policy_id!r} is at version {entry.version} now; read it and make your change on that.")
