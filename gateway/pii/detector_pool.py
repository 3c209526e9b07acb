"""A bounded pool of detector processes behind an async call, so that detection never blocks the event loop.

Each worker takes one job at a time over pipes. A worker that dies or runs over the time limit is killed and replaced,
and the request whose job it was gets `DetectorFailed`: never an empty answer. A caller that goes away leaves its job to
finish or time out, so that the worker stays whole. Text passes through memory and pipes only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.errors import DetectorFailed
from gateway.exchange import Span
from gateway.pii.detector_worker import FRAME_HEADER
from gateway.pii.policy_digest import policy_digest
from gateway.pii.roster.current import RosterFile
from policies.schema import Policy

_BATCH_CODE_POINTS = 8_000  # texts of a request are grouped into jobs of about this size, so that workers share them
# Detection takes 0.1 ms a character. A process that takes twenty times that, and five seconds more, is stuck: it is replaced.
_HUNG_AFTER_S, _HUNG_AFTER_S_PER_CODE_POINT = 5.0, 0.002
_MAX_FRAME_BYTES = 256 << 20
_ROOT = str(Path(__file__).resolve().parents[2])  # where `gateway` is imported from


class _WorkerFault(Exception):
    """The worker died, or broke the protocol. Carries no text."""


class _Worker:
    """One process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, languages: Sequence[str], start_timeout_s: float) -> _Worker:
        environment = dict(os.environ)
        # One core a worker: the pool is the parallelism.
        environment.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", BLIS_NUM_THREADS="1", HF_HUB_OFFLINE="1")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, environment.get("PYTHONPATH", ""))))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.pii.detector_worker",
            ",".join(languages),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        worker = cls(process)
        try:
            async with asyncio.timeout(start_timeout_s):
                hello = await worker._receive()
        except (TimeoutError, _WorkerFault, asyncio.CancelledError) as error:
            await worker.kill()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise DetectorFailed(
                f"A detector process did not start within {start_timeout_s:g} s; `llmos doctor` says what is missing."
            ) from None
        if "error" in hello:
            await worker.kill()
            raise DetectorFailed(f"A detector process could not load its models ({hello['error']}); `llmos doctor` says how to mend it.")
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    async def exchange(self, body: bytes) -> dict[str, Any]:
        """Send one frame, receive one. Raises _WorkerFault when the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(FRAME_HEADER.pack(len(body)) + body)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError, RuntimeError):  # uvloop's word for a closed pipe is RuntimeError
            raise _WorkerFault("the process closed its input") from None
        return await self._receive()

    async def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            (length,) = FRAME_HEADER.unpack(await self._process.stdout.readexactly(FRAME_HEADER.size))
            if length > _MAX_FRAME_BYTES:
                raise _WorkerFault("a frame too long")
            answer = json.loads(await self._process.stdout.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionResetError, ValueError):
            raise _WorkerFault("the process ended") from None
        if not isinstance(answer, dict):
            raise _WorkerFault("not an object")
        return answer

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class DetectorPool:
    """Detection by `workers` processes.

    Args:
        workers: processes, each about 300 MB and one core.
        timeout_s: the longest a request may take, waiting for a worker included.
        start_timeout_s: the longest a process may take to load its models.
        max_waiting: jobs that may wait for a worker; beyond it requests are refused at once.
        languages: models to load, of "en" and "zh".
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        timeout_s: float = 15.0,
        start_timeout_s: float = 60.0,
        max_waiting: int = 256,
        languages: Sequence[str] = ("en", "zh"),
    ) -> None:
        if workers < 1:
            raise ValueError("a pool needs at least one worker")
        self._size = workers
        self._timeout_s = timeout_s
        self._start_timeout_s = start_timeout_s
        self._max_waiting = max_waiting
        self._languages = tuple(languages)
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._all: set[_Worker] = set()
        self._waiting = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self.fault: DetectorFailed | None = None  # why the last start of a process failed

    async def start(self) -> None:
        """Start every process and wait until all are ready. Raises DetectorFailed when one can't load."""
        self._stopping = False
        started = await asyncio.gather(*(self._add_worker() for _ in range(self._size)), return_exceptions=True)
        faults = [fault for fault in started if isinstance(fault, BaseException)]
        if faults:
            await self.stop()
            raise faults[0]

    def begin(self) -> None:
        """Start every process in the background; jobs wait for the first that is ready. One that can't load is tried again."""
        self._stopping = False
        for _ in range(self._size):
            self._spawn(self._load())

    async def stop(self) -> None:
        """End every process. Jobs in progress get DetectorFailed."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._all))
        self._all.clear()
        while not self._idle.empty():
            self._idle.get_nowait()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The process ids, for health checks and tests."""
        return tuple(worker.pid for worker in self._all)

    async def detect(self, texts: Sequence[str], policy: Policy, *, roster: RosterFile | None = None) -> list[tuple[Span, ...]]:
        """The spans of each text; `roster` names the people to find besides.

        Raises:
            DetectorFailed: a worker died, the time limit passed, too many requests wait, or the pool isn't running.
        """
        if not texts:
            return []
        digest = policy_digest(policy)
        known = None if roster is None else {"path": str(roster.path), "key": roster.key.hex()}
        jobs = []
        for batch in _batches(texts):
            request = {"digest": digest.hex(), "policy": policy.model_dump(mode="json"), "roster": known, "texts": batch}
            hung_after_s = _HUNG_AFTER_S + _HUNG_AFTER_S_PER_CODE_POINT * sum(map(len, batch))
            jobs.append(self._spawn(self._job(json.dumps(request, separators=(",", ":")).encode(), len(batch), hung_after_s)))
        # Shielded: a caller's cancellation must not leave a worker with half an answer in its pipe.
        answers = await asyncio.gather(*(asyncio.shield(job) for job in jobs), return_exceptions=True)
        spans: list[tuple[Span, ...]] = []
        for answer in answers:
            if isinstance(answer, asyncio.CancelledError):
                raise DetectorFailed("The detector is shutting down; nothing was sent upstream.", retry_after_s=5)
            if isinstance(answer, BaseException):
                raise answer
            spans.extend(answer)
        return spans

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # An abandoned job's failure has no reader; asking for it keeps it out of the loop's log.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _job(self, body: bytes, texts: int, hung_after_s: float) -> list[tuple[Span, ...]]:
        if self._stopping or not (self._all or self._tasks):
            raise DetectorFailed("The detector is not running; nothing was sent upstream.", retry_after_s=5)
        if self._idle.empty() and self._waiting >= self._max_waiting:
            raise DetectorFailed("Too many requests wait for detection; nothing was sent upstream.", retry_after_s=2)
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                worker = await self._idle.get()
        except TimeoutError:
            raise DetectorFailed("Detection did not start within its time limit; nothing was sent upstream.", retry_after_s=2) from None
        finally:
            self._waiting -= 1
        healthy = False
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(deadline, now + hung_after_s)):
                answer = await worker.exchange(body)
            healthy = True
        except TimeoutError:
            raise DetectorFailed(
                f"Detection took longer than {min(deadline - now, hung_after_s):.0f} s; nothing was sent upstream.", retry_after_s=1
            ) from None
        except _WorkerFault:
            raise DetectorFailed("A detector process died; it is being replaced and nothing was sent upstream.", retry_after_s=1) from None
        finally:
            if healthy:
                self._idle.put_nowait(worker)
            elif not self._stopping:
                self._spawn(self._replace(worker))
        return _spans_of(answer, texts)

    async def _add_worker(self) -> None:
        worker = await _Worker.start(self._languages, self._start_timeout_s)
        self.fault = None
        self._all.add(worker)
        self._idle.put_nowait(worker)

    async def _replace(self, worker: _Worker) -> None:
        """Kill a worker and start another."""
        self._all.discard(worker)
        await worker.kill()
        await self._load()

    async def _load(self) -> None:
        """Start a worker, trying again with a growing pause while the pool runs."""
        pause_s = 0.5
        while not self._stopping:
            try:
                await self._add_worker()
            except DetectorFailed as failed:
                self.fault = failed
                await asyncio.sleep(pause_s)
                pause_s = min(30.0, 2 * pause_s)
            else:
                return


def _batches(texts: Sequence[str]) -> list[list[str]]:
    """Texts in order, grouped into jobs of about `_BATCH_CODE_POINTS`."""
    batches: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if batches[-1] and size + len(text) > _BATCH_CODE_POINTS:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += len(text)
    return batches


def _spans_of(answer: dict[str, Any], texts: int) -> list[tuple[Span, ...]]:
    if "error" in answer:
        raise DetectorFailed(f"Detection failed ({answer['error']}); nothing was sent upstream.")
    spans = answer.get("spans")
    if not isinstance(spans, list) or len(spans) != texts:
        raise DetectorFailed("A detector process gave an answer of the wrong shape; nothing was sent upstream.")
    return [tuple(Span(start, end, entity, score) for start, end, entity, score in row) for row in spans]
