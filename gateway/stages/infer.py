"""Stage 5: the model answers.

A stream's first event is awaited here, so that a server that fails at once fails with its right status and not after a 200.
It does not retry: a request may cost much, and the client decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from gateway.errors import LlmosError, Unavailable, UpstreamFailed
from gateway.exchange import Answered, Json, Received, Routed, Target
from gateway.ports import Backend, PrivateServer
from policies.dp import StructuredRule, TokenRule


async def infer(
    routed: Routed, backends: Mapping[Target, Backend], note: Callable[[Json], None], private_server: PrivateServer
) -> Answered:
    """`note` sees each body or event as it arrived, for its token counts.

    Raises UpstreamFailed, UpstreamTimeout, Unavailable, or the backend's refusal as BadRequest.
    """
    backend = backends.get(routed.target)
    if backend is None:
        raise Unavailable(f"The policy sends this request to `{routed.target}`, which is not configured here.")
    rule = routed.scrubbed.admitted.policy.dp
    if rule is not None and not isinstance(rule.mechanism, TokenRule):
        return await _released_at_once(routed, backend, note, private_server)
    if not routed.scrubbed.admitted.received.stream:
        body = await backend.complete(routed)
        note(body)
        return Answered(routed=routed, body=body, events=None)
    events = backend.stream(routed)
    try:
        first = await anext(events)
    except StopAsyncIteration:
        raise UpstreamFailed("The model server's stream ended before it began.") from None
    return Answered(routed=routed, body=None, events=_after(first, events, note))


async def _released_at_once(routed: Routed, backend: Backend, note: Callable[[Json], None], private_server: PrivateServer) -> Answered:
    """Mechanisms that release a whole answer. For a structured one a failing model server is no error here: `noise` draws defaults."""
    rule = routed.scrubbed.admitted.policy.dp
    if rule is not None and isinstance(rule.mechanism, StructuredRule):
        body = await _by_then(backend.complete(routed), routed.scrubbed.admitted.received, rule.mechanism.answer_after_s)
        if body is None:
            return Answered(routed=routed, body=None, events=None)
    else:
        body = await private_server.pooled(routed)
    note(body)
    return Answered(routed=routed, body=body, events=None)


async def _by_then(answer: Awaitable[Json], received: Received, after_s: float | None) -> Json | None:
    """The answer, or None where the server failed. With `after_s`: what is there that long after the request came, and not sooner."""
    begun_s = time.monotonic()
    left_s = None if after_s is None else max(0.0, after_s - (time.time() - received.received_unix_s))
    body = None
    try:
        async with asyncio.timeout(left_s):
            body = await answer
    except (LlmosError, TimeoutError):
        pass
    if left_s is not None:
        await asyncio.sleep(begun_s + left_s - time.monotonic())
    return body


async def _after(first: Json, rest: AsyncIterator[Json], note: Callable[[Json], None]) -> AsyncIterator[Json]:
    try:
        note(first)
        yield first
        async for event in rest:
            note(event)
            yield event
    finally:
        if hasattr(rest, "aclose"):
            await rest.aclose()
