"""The pool under faults: a killed worker, a time limit, a stopped pool. Every case has a deadline."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import uvloop

from gateway.errors import DetectorFailed
from gateway.pii import detector_pool
from gateway.pii.detector_pool import DetectorPool
from policies.entities import ENTITIES
from policies.schema import EntityRule, Policy

POLICY = Policy(id="all", entities={entity: EntityRule() for entity in ENTITIES})

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[DetectorPool]:
    pool = DetectorPool(2, timeout_s=60)
    await pool.start()
    yield pool
    await pool.stop()


async def test_spans_of_each_text_in_order(pool: DetectorPool) -> None:
    texts = ["card 4111 1111 1111 1111", "", "nothing here", "write to ann@example.org"]
    spans = await pool.detect(texts, POLICY)
    assert [[span.entity for span in row] for row in spans] == [["CREDIT_CARD"], [], [], ["EMAIL_ADDRESS"]]


async def test_a_text_with_lone_surrogates_is_analysed(pool: DetectorPool) -> None:
    (spans,) = await pool.detect(["\ud800 ann@example.org \udfff"], POLICY)
    assert [(span.start, span.end) for span in spans] == [(2, 17)]


async def test_a_killed_worker_fails_its_request_and_is_replaced(pool: DetectorPool) -> None:
    before = set(pool.worker_pids)
    request = asyncio.create_task(pool.detect(["word " * 40_000], POLICY))
    await asyncio.sleep(0.3)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(DetectorFailed):
        await request
    # The other worker's death shows at its next job; then both are new.
    for _ in range(3):
        try:
            (spans,) = await pool.detect(["ann@example.org"], POLICY)
            break
        except DetectorFailed:
            continue
    assert spans[0].entity == "EMAIL_ADDRESS"
    assert not before & set(pool.worker_pids)


async def test_a_cancelled_request_leaves_its_worker_whole(pool: DetectorPool) -> None:
    request = asyncio.create_task(pool.detect(["word " * 2000] * 2, POLICY))
    await asyncio.sleep(0.05)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    (spans,) = await pool.detect(["ann@example.org"], POLICY)
    assert [(span.start, span.end) for span in spans] == [(0, 15)]


async def test_a_request_over_the_time_limit_fails_without_its_text() -> None:
    pool = DetectorPool(1, timeout_s=0.2)
    await pool.start()
    try:
        before = pool.worker_pids
        with pytest.raises(DetectorFailed) as failed:
            await pool.detect(["Canary Name " * 60_000], POLICY)
        assert "Canary" not in failed.value.message
        async with asyncio.timeout(60):
            while set(pool.worker_pids) & set(before) or not pool.worker_pids:  # noqa: ASYNC110 - the pool tells nobody of a restart
                await asyncio.sleep(0.1)
    finally:
        await pool.stop()


async def test_a_pool_that_is_not_running_refuses() -> None:
    with pytest.raises(DetectorFailed):
        await DetectorPool(1).detect(["text"], POLICY)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_worker_that_died_between_two_requests_is_a_fault_of_its_own_kind(new_loop) -> None:
    async def ask_the_dead() -> None:
        asleep = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        process = await asyncio.create_subprocess_exec(*asleep, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        process.kill()
        await process.wait()
        worker = detector_pool._Worker(process)
        for _ in range(3):  # the loop sees the pipe close at some moment; before and after it the answer is the same
            with pytest.raises(detector_pool._WorkerFault):
                await worker.exchange(b"{}")
            await asyncio.sleep(0.05)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask_the_dead())
