"""The audit log: one append-only stream a tenant, chained record by record, right with any number of writers.

A writer knows the head (number and digest of the last record), chains what waits onto it and appends all of it by one
Lua script that refuses if the head has moved; then it takes the new head and chains again. What arrives during a write
goes into the next one, so a busy gateway writes batches. An admission that can't be appended raises StoreUnavailable,
and the request is not served. An outcome that can't be appended goes into a file beside the data (fsync) and is appended
when the store is back; the answer was given, so its record must not be lost.

A store that crashes can lose what it acknowledged in its last second or two (an append-only file that is flushed every
second). The writer sees that the head has gone back, appends what it had written of late once more, and records the fact.

At least once: an append whose reply was lost can leave a record twice, never not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis

from gateway.audit.chain import AuditKeys, Head, canonical, first_digest, mac, next_digest
from gateway.audit.content_free import content_free
from gateway.audit.verify import Link
from gateway.errors import StoreUnavailable
from gateway.stores.audit_files import HeadsFile, Spool
from gateway.stores.failures import reaching

SYSTEM_TENANT = "-"  # what concerns no tenant: administration, and callers that nobody knows
MAX_BATCH = 256
PAGE = 1000
REPLAY_S = 1.0
RECENT_S = 10.0  # how far back a store that crashed can have lost what it acknowledged: its flush is a second, at worst a few
MAX_RECENT = 20_000

# KEYS: log, head, tenants. ARGV: the head that the writer knows, the new head, the first new seq, then record, digest and MAC of
# each record, at last the tenant. Returns nil, or the head that stands and the digest of the last record that the writer knows.
_APPEND = """
local head = redis.call('GET', KEYS[2]) or ''
if head ~= ARGV[1] then
  local known = string.match(ARGV[1], '^%d+')
  local entry = known and redis.call('XRANGE', KEYS[1], known .. '-0', known .. '-0')[1]
  return {head, entry and entry[2][4] or ''}
end
local seq = tonumber(ARGV[3])
for i = 4, #ARGV - 1, 3 do
  redis.call('XADD', KEYS[1], seq .. '-0', 'r', ARGV[i], 'd', ARGV[i + 1], 'm', ARGV[i + 2])
  seq = seq + 1
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[#ARGV])
return false
"""

_log = structlog.get_logger(__name__)

TENANTS = "llmos:{audit}:tenants"


def log_key(tenant: str) -> str:
    return f"llmos:{{audit}}:log:{tenant}"


def head_key(tenant: str) -> str:
    return f"llmos:{{audit}}:head:{tenant}"


def signed_key(tenant: str) -> str:
    return f"llmos:{{audit}}:signed:{tenant}"


@dataclass(frozen=True, slots=True)
class _Written:
    """A record of ours that the store acknowledged a moment ago."""

    at_s: float
    seq: int
    digest: bytes
    record: dict[str, object]


@dataclass(slots=True)
class _Chain:
    """What this process knows of one tenant's chain, and what waits to be appended."""

    tenant: str
    key: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    seq: int = 0
    signed_seq: int = 0
    signed_at: float = 0.0
    waiting: list[tuple[dict[str, object], asyncio.Future[int]]] = field(default_factory=list, repr=False)
    recent: deque[_Written] = field(default_factory=deque, repr=False)
    writer: asyncio.Task[None] | None = None

    def remember(self, written: Sequence[_Written]) -> None:
        """Keep what was just appended for as long as the store might still lose it."""
        self.recent.extend(written)
        while self.recent and (self.recent[-1].at_s - self.recent[0].at_s > RECENT_S or len(self.recent) > MAX_RECENT):
            self.recent.popleft()


class ValkeyAudit:
    """The audit behind the port `AuditLog`. Use as an async context manager."""

    def __init__(
        self,
        redis: Redis,
        keys: AuditKeys,
        *,
        spool: Spool | None = None,
        heads_file: HeadsFile | None = None,
        sign_every: int = 1000,
        sign_after_s: float = 60.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._spool = spool
        self._heads_file = heads_file
        self._sign_every = sign_every
        self._sign_after_s = sign_after_s
        self._now = now
        self._chains: dict[str, _Chain] = {}
        self._append = redis.register_script(_APPEND)
        self._replayer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ValkeyAudit:
        if self._spool is not None:
            self._replayer = asyncio.create_task(self._replay(self._spool), name="audit-replay")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # asyncio.wait_for on Python 3.11 can swallow a cancellation that meets a result, so ask until it is done
        while self._replayer is not None and not self._replayer.done():
            self._replayer.cancel()
            await asyncio.wait({self._replayer}, timeout=0.1)
        for chain in self._chains.values():
            if chain.writer is not None:
                await asyncio.wait({chain.writer})
            try:
                await self.sign(chain.tenant)
            except StoreUnavailable:
                _log.warning("audit_head_unsigned", tenant=chain.tenant, seq=chain.seq)

    async def admission(self, record: Mapping[str, object]) -> None:
        """Append a request's admission. Raises StoreUnavailable: then the request must not be served."""
        await self.append("admission", record)

    async def outcome(self, record: Mapping[str, object]) -> None:
        """Append a request's outcome, or keep it in the spool until the store is back. Raises StoreUnavailable where neither works."""
        try:
            await self.append("outcome", record)
        except StoreUnavailable:
            if self._spool is None:
                raise
            must = bool(record.get("admitted"))
            await asyncio.to_thread(self._spool.keep, {**content_free(record), "kind": "outcome", "unix_s": self._now()}, must)

    async def admin(self, record: Mapping[str, object]) -> None:
        """Append what an administrator did, before it is done. Raises StoreUnavailable: then it must not be done."""
        await self.append("admin", {"tenant": SYSTEM_TENANT, **record})

    async def admin_outcome(self, record: Mapping[str, object]) -> None:
        """Append how an administrator's act ended, or keep it in the spool. Raises StoreUnavailable where neither works."""
        try:
            await self.admin(record)
        except StoreUnavailable:
            if self._spool is None:
                raise
            kept = {"tenant": SYSTEM_TENANT, **content_free(record), "kind": "admin", "unix_s": self._now()}
            await asyncio.to_thread(self._spool.keep, kept, True)

    async def append(self, kind: str, record: Mapping[str, object]) -> int:
        """Append one record to its tenant's chain; the record's number there. Raises StoreUnavailable."""
        plain: dict[str, object] = {"unix_s": round(self._now(), 3), **content_free(record), "kind": kind}
        tenant = str(plain.get("tenant") or SYSTEM_TENANT)
        plain["tenant"] = tenant
        chain = self._chain(tenant)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        chain.waiting.append((plain, done))
        if chain.writer is None or chain.writer.done():
            chain.writer = asyncio.create_task(self._write(chain), name="audit-write")
        return await asyncio.shield(done)

    async def sign(self, tenant: str) -> Head | None:
        """Sign the chain as it stands now and keep the head; None for a chain without records. Raises StoreUnavailable."""
        with reaching("sign the audit"):
            raw = await self._redis.get(head_key(tenant))
            if not raw:
                return None
            seq, digest = _parse_head(raw)
            newest = await self._redis.lindex(signed_key(tenant), -1)
            if newest is not None and (kept := Head.from_json(orjson.loads(newest))).seq == seq:
                return kept
            head = self._keys.sign(tenant, seq, digest, round(self._now(), 3))
            await self._redis.rpush(signed_key(tenant), orjson.dumps(head.to_json()))
        if self._heads_file is not None:
            await asyncio.to_thread(self._heads_file.add, head)
        chain = self._chain(tenant)
        chain.signed_seq, chain.signed_at = seq, self._now()
        return head

    async def tenants(self) -> list[str]:
        """Who has records, or had some by the heads in the file beside the store. Raises StoreUnavailable."""
        with reaching("read the audit"):
            names: Any = await self._redis.smembers(TENANTS)
        kept = await asyncio.to_thread(self._heads_file.tenants) if self._heads_file is not None else set()
        return sorted(kept | {name.decode() for name in names})

    async def heads(self, tenant: str) -> list[Head]:
        """The signed heads in the store, and those kept in the file beside it. Raises StoreUnavailable."""
        with reaching("read the audit"):
            raw = await self._redis.lrange(signed_key(tenant), 0, -1)
        heads = [Head.from_json(orjson.loads(entry)) for entry in raw]
        if self._heads_file is not None:
            heads += await asyncio.to_thread(self._heads_file.read, tenant)
        return list(dict.fromkeys(heads))

    async def links(self, tenant: str, first: int = 1, last: int | None = None) -> AsyncIterator[Link]:
        """The log in order, page by page. Raises StoreUnavailable."""
        start = f"{first}-0"
        end = f"{last}-0" if last is not None else "+"
        while True:
            with reaching("read the audit"):
                page = _links(await self._redis.xrange(log_key(tenant), start, end, count=PAGE))
            for link in page:
                yield link
            if len(page) < PAGE:
                return
            start = f"({page[-1].seq}-0"

    async def newest(self, tenant: str) -> AsyncIterator[Link]:
        """The log backwards, page by page. Raises StoreUnavailable."""
        end = "+"
        while True:
            with reaching("read the audit"):
                page = _links(await self._redis.xrevrange(log_key(tenant), end, "-", count=PAGE))
            for link in page:
                yield link
            if len(page) < PAGE:
                return
            end = f"({page[-1].seq}-0"

    def _chain(self, tenant: str) -> _Chain:
        chain = self._chains.get(tenant)
        if chain is None:
            chain = _Chain(tenant, self._keys.tenant_key(tenant), first_digest(tenant), signed_at=self._now())
            self._chains[tenant] = chain
        return chain

    async def _write(self, chain: _Chain) -> None:
        """Append all that waits, batch by batch; a batch that fails fails each of its records."""
        while chain.waiting:
            batch, chain.waiting = chain.waiting[:MAX_BATCH], chain.waiting[MAX_BATCH:]
            try:
                first = await self._append_batch(chain, [record for record, _ in batch])
            except StoreUnavailable as failed:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(failed)
                continue
            for offset, (_, done) in enumerate(batch):
                if not done.done():
                    done.set_result(first + offset)
            if chain.seq - chain.signed_seq >= self._sign_every or self._now() - chain.signed_at >= self._sign_after_s:
                try:
                    await self.sign(chain.tenant)
                except StoreUnavailable:
                    _log.warning("audit_head_unsigned", tenant=chain.tenant, seq=chain.seq)

    async def _append_batch(self, chain: _Chain, given: list[dict[str, object]]) -> int:
        """The number of the first of the `given` records. Raises StoreUnavailable; the chain is then as it was."""
        seq, digest, records, went_back = chain.seq, chain.digest, given, False
        while True:
            known = b"%d:%s" % (seq, digest.hex().encode()) if seq else b""
            arguments, written = list[bytes | str | int](), list[_Written]()
            for record in records:
                seq += 1
                line = canonical({**record, "seq": seq})
                digest = next_digest(digest, line)
                arguments += [line, digest, mac(chain.key, digest)]
                written.append(_Written(time.monotonic(), seq, digest, record))
            with reaching("write the audit"):
                moved = await self._append(
                    keys=[log_key(chain.tenant), head_key(chain.tenant), TENANTS],
                    args=[known, b"%d:%s" % (seq, digest.hex().encode()), seq + 1 - len(records), *arguments, chain.tenant],
                )
            if moved is None:
                if went_back:
                    chain.recent.clear()
                chain.seq, chain.digest = seq, digest
                chain.remember(written)
                return seq + 1 - len(given)
            seq, digest = _parse_head(moved[0]) if moved[0] else (0, first_digest(chain.tenant))
            if not went_back and chain.seq and moved[1] != chain.digest:
                went_back = True
                records = [*await self._lost(chain, seq), *given]

    async def _lost(self, chain: _Chain, store_seq: int) -> list[dict[str, object]]:
        """Of what we wrote of late, what the store has lost, behind a record that says so. Raises StoreUnavailable."""
        standing: dict[int, bytes] = {}
        if chain.recent:
            with reaching("read the audit"):
                page = await self._redis.xrange(log_key(chain.tenant), f"{chain.recent[0].seq}-0", f"{chain.recent[-1].seq}-0")
            standing = {link.seq: link.digest for link in _links(page)}
        lost = [{**written.record, "again": True} for written in chain.recent if standing.get(written.seq) != written.digest]
        about: dict[str, object] = {"store_seq": store_seq, "known_seq": chain.seq, "appended_again": len(lost)}
        _log.error("audit_store_lost_records", tenant=chain.tenant, **about)
        note = {"kind": "admin", "action": "audit.store_lost_records", "tenant": chain.tenant, "unix_s": round(self._now(), 3), **about}
        return [note, *lost]

    async def _replay(self, spool: Spool) -> None:
        """Append what the spool kept, as soon as the store takes it, and see to it that no log went back unnoticed."""
        while True:
            try:
                for kept in await asyncio.to_thread(spool.read):
                    await self.append(str(kept.pop("kind", "outcome")), {**kept, "spooled": True})
                    await asyncio.to_thread(spool.drop_first)
                await self._mend()
            except StoreUnavailable:
                _log.warning("audit_store_away", waiting=len(spool))
            await asyncio.sleep(REPLAY_S)

    async def _mend(self) -> None:
        """Append again what a store that crashed has lost, where nothing else is being appended. Raises StoreUnavailable."""
        for chain in [each for each in self._chains.values() if each.recent]:
            if time.monotonic() - chain.recent[-1].at_s > RECENT_S:
                chain.recent.clear()
                continue
            seq, digest = chain.seq, chain.digest
            with reaching("read the audit"):
                page = _links(await self._redis.xrange(log_key(chain.tenant), f"{seq}-0", f"{seq}-0"))
            idle = chain.seq == seq and (chain.writer is None or chain.writer.done())
            if idle and [link.digest for link in page] != [digest]:
                chain.writer = asyncio.create_task(self._rewrite(chain), name="audit-rewrite")
                await asyncio.wait({chain.writer})

    async def _rewrite(self, chain: _Chain) -> None:
        with contextlib.suppress(StoreUnavailable):  # the next round tries again
            await self._append_batch(chain, [])
        await self._write(chain)


def _parse_head(raw: Any) -> tuple[int, bytes]:
    seq, _, digest = bytes(raw).partition(b":")
    return int(seq), bytes.fromhex(digest.decode())


def _links(page: Any) -> list[Link]:
    """A page of a stream as links; a field that is not there is an empty one, which no verification accepts."""
    return [
        Link(int(entry_id.partition(b"-")[0]), fields.get(b"r", b""), fields.get(b"d", b""), fields.get(b"m", b""))
        for entry_id, fields in page
    ]
