"""Spans in Redis under the keyed hash that the caller gives: offsets, types and scores, with a TTL, never text."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import StoreUnavailable
from gateway.exchange import Span

_PREFIX = b"llmos:spans:"
_VERSION = 1
_SPAN = struct.Struct(">IIHB")  # start, end, score in 1/65535, length of the entity's name that follows


def encode_spans(spans: Sequence[Span]) -> bytes:
    """A version byte, then for each span its fixed fields and its entity's name."""
    parts = [bytes([_VERSION])]
    for span in spans:
        name = span.entity.encode("ascii")
        parts.append(_SPAN.pack(span.start, span.end, round(span.score * 65535), len(name)) + name)
    return b"".join(parts)


def decode_spans(data: bytes) -> tuple[Span, ...] | None:
    """The spans, or None where the bytes are not ours (another version, damage)."""
    if not data or data[0] != _VERSION:
        return None
    spans = []
    position = 1
    while position < len(data):
        if position + _SPAN.size > len(data):
            return None
        start, end, score, length = _SPAN.unpack_from(data, position)
        position += _SPAN.size
        name = data[position : position + length]
        position += length
        if len(name) < length or not name.isascii():
            return None
        spans.append(Span(start, end, name.decode("ascii"), score / 65535))
    return tuple(spans)


class RedisSpanCache:
    """A `SpanCache` over a Redis client that gives bytes (`decode_responses=False`)."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def get_many(self, keys: Sequence[bytes]) -> list[tuple[Span, ...] | None]:
        """The spans under each key, None where there are none. Raises StoreUnavailable."""
        if not keys:
            return []
        try:
            values = await self._redis.mget([_PREFIX + key for key in keys])
        except (RedisError, OSError):
            raise StoreUnavailable("The span cache can't be reached; see LLMOS_REDIS_URL.", retry_after_s=2) from None
        return [decode_spans(value) if isinstance(value, bytes) else None for value in values]

    async def put_many(self, entries: Mapping[bytes, tuple[Span, ...]], ttl_s: int) -> None:
        """Keep each entry for `ttl_s` seconds. Raises StoreUnavailable."""
        if not entries:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, spans in entries.items():
                    pipeline.set(_PREFIX + key, encode_spans(spans), ex=ttl_s)
                await pipeline.execute()
        except (RedisError, OSError):
            raise StoreUnavailable("The span cache can't be reached; see LLMOS_REDIS_URL.", retry_after_s=2) from None
