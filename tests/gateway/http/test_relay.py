"""Blind use, end to end: a caller shares by itself, a real gateway carries its boxes to real parties and can read none."""

import asyncio
import json
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from scipy.stats import chi2

from mpc_inference import errors, folders, launch, sealing
from mpc_inference.blind import CONTENT_TYPE, OPENING, Relayed
from mpc_inference.client import Client
from mpc_inference.config import BlindTerms, read_config
from mpc_inference.pair import Lane
from mpc_inference.sampling import Sampling
from policies.schema import Policy

pytestmark = pytest.mark.timeout(180)
KEY = "sk-llmos-test-0000"  # the harness's
SECRET = "w41 w42 w43 w44 w45"
FRAME = struct.Struct("!BI")


@pytest.fixture(scope="module")
def serving(running_mpc: Path, mpc_gateway: Callable[..., Any]) -> Iterator[Any]:
    with mpc_gateway(running_mpc) as gateway:
        yield gateway


@pytest.fixture
def llmos(serving: Any) -> Any:
    serving.audit.records.clear()
    serving.limits.settled.clear()
    serving.meddler.seen.clear()
    serving.meddler.meddle = lambda direction, party, box: [box]
    serving.policies.policy = Policy(id="test", blind="allow")
    return serving


@pytest.fixture(scope="module")
def terms(running_mpc: Path) -> BlindTerms:
    given = read_config(running_mpc)
    assert given.seal_keys is not None
    return BlindTerms(
        model=given.model, digest=given.digest, seal_keys=given.seal_keys, context_tokens=given.context_tokens, deadline_s=given.deadline_s
    )


class Watched(Relayed):
    """Keeps every payload of a share that this caller sends or gets, in clear."""

    shares: list[bytes]

    @property
    def both(self) -> Any:
        if not hasattr(self, "_watched"):
            self.shares = []
            self._watched = [WatchedLane(lane, self.shares) for lane in super().both]
        return self._watched

    def first(self, waiting: Any, timeout_s: float) -> Lane:
        found = super().first([lane.inner for lane in waiting], timeout_s)
        return next(lane for lane in self._watched if lane.inner is found)


class WatchedLane:
    def __init__(self, inner: Any, shares: list[bytes]) -> None:
        self.inner, self._shares = inner, shares
        self.send_control, self.receive_control = inner.send_control, inner.receive_control

    def send(self, kind: int, payload: bytes) -> None:
        self._shares.append(payload)
        self.inner.send(kind, payload)

    def receive(self, kind: int) -> bytearray:
        words: bytearray = self.inner.receive(kind)
        self._shares.append(bytes(words))
        return words


def caller(llmos: Any, terms: BlindTerms, *, key: str = KEY, model: str = "smollm2-mpc", opened: list[Any] | None = None) -> Client:
    def connect(tokens: int) -> Relayed:
        relayed = (Relayed if opened is None else Watched)(terms, llmos.url + "/v1", key, model, tokens)
        if opened is not None:
            opened.append(relayed)
        return relayed

    return Client(terms, connect)


async def answer(client: Client, text: str = SECRET, **more: Any) -> list[int]:
    prompt = client.tokens.chat([{"role": "user", "content": text}])
    return [piece.token async for piece in client.generate(prompt, **({"max_tokens": 5} | more))]


async def test_a_blind_caller_gets_the_answer_of_a_direct_one(llmos: Any, terms: BlindTerms, running_mpc: Path) -> None:
    direct = launch.client(running_mpc)
    assert await answer(caller(llmos, terms)) == await answer(direct)
    drawn = Sampling(temperature=1.0, seed=4)
    assert await answer(caller(llmos, terms), sampling=drawn) == await answer(direct, sampling=drawn)


async def test_the_gateway_sees_no_plaintext_and_no_share(llmos: Any, terms: BlindTerms) -> None:
    opened: list[Any] = []
    client = caller(llmos, terms, opened=opened)
    await answer(client)
    view = b"".join(box for _, _, box in llmos.meddler.seen)
    shares = opened[0].shares
    assert sum(len(share) for share in shares) > 10_000
    for share in shares:
        for at in range(0, len(share), 64):
            assert share[at : at + 16] not in view
    for at in range(len(SECRET) - 6):  # random bytes hold seven given ones by chance less than once in 10^9 runs
        assert SECRET[at : at + 7].encode() not in view
    boxes = [box for _, _, box in llmos.meddler.seen if len(box) > 32]
    assert all(len(box) & (len(box) - 1) == 0 and len(box) >= sealing.SMALLEST_BOX for box in boxes)
    counts = Counter(b"".join(boxes))
    total = sum(counts.values())
    statistic = sum((counts[value] - total / 256) ** 2 / (total / 256) for value in range(256))
    assert statistic < chi2.ppf(1 - 1e-6, 255), "one false alarm in a million runs"


async def test_prompts_of_one_bucket_look_alike(llmos: Any, terms: BlindTerms) -> None:
    shapes = []
    for text in ("w1", "w41 w42 w43"):
        llmos.meddler.seen.clear()
        await answer(caller(llmos, terms), text, max_tokens=3, sampling=Sampling(temperature=0))
        shapes.append([[len(box) for way, party, box in llmos.meddler.seen if (way, party) == ("up", 0)]])
    assert shapes[0] == shapes[1]


async def test_it_is_audited_without_content_and_settled_by_what_was_announced(llmos: Any, terms: BlindTerms) -> None:
    await answer(caller(llmos, terms))
    async with asyncio.timeout(5):
        while len(llmos.audit.records) < 2:  # noqa: ASYNC110 - asks another thread
            await asyncio.sleep(0.02)
    (_, admission), (_, outcome) = llmos.audit.records
    assert (admission["route"], admission["blind"], admission["api"]) == ("mpc", True, "mpc.relay")
    assert (outcome["outcome"], outcome["status"], outcome["tokens_announced"]) == ("ok", 200, 64)
    assert llmos.limits.settled == [64]
    assert "counts" not in outcome
    async with httpx.AsyncClient() as client:
        assert 'llmos_requests_total{api="mpc.relay",outcome="ok"}' in (await client.get(llmos.url + "/metrics")).text


async def test_the_command_chats_blindly(llmos: Any, running_mpc: Path) -> None:
    folders.write(running_mpc)
    terms = running_mpc.parent / "hosts" / "blind" / "blind.yaml"
    argv = [sys.executable, "-m", "gateway.cli", "mpc", "chat", "--config", str(terms), "--blind", llmos.url + "/v1", "--max-tokens", "3"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")} | {"LLMOS_DEV_KEY": KEY}
    done = await asyncio.to_thread(subprocess.run, argv, input=SECRET + "\n\n", capture_output=True, text=True, timeout=90, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "first token after" in done.stdout
    assert llmos.meddler.seen
    unkeyed = {name: value for name, value in environ.items() if name != "LLMOS_DEV_KEY"}
    done = await asyncio.to_thread(subprocess.run, argv, input="\n", capture_output=True, text=True, timeout=90, env=unkeyed)
    assert (done.returncode, "LLMOS_DEV_KEY" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("policy", "more", "error"),
    [
        (Policy(id="test"), {}, "policy_refusal"),
        (Policy(id="test", blind="allow"), {"key": "sk-wrong"}, "invalid_api_key"),
        (Policy(id="test", blind="allow"), {"model": "echo"}, "bad_request"),
    ],
    ids=["policy without blind", "wrong key", "another model"],
)
async def test_who_may_not_is_refused_before_a_party_hears_of_it(
    llmos: Any, terms: BlindTerms, policy: Policy, more: dict[str, str], error: str
) -> None:
    llmos.policies.policy = policy
    with pytest.raises(errors.GatewayRefused, match=error):
        await answer(caller(llmos, terms, **more))
    assert not llmos.meddler.seen


def altered(box: bytes) -> bytes:
    return box[:50] + bytes([box[50] ^ 4]) + box[51:]


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("party", [0, 1])
@pytest.mark.parametrize(
    "what", [lambda box: [altered(box)], lambda box: [box, box], lambda box: [box[:-7]]], ids=["altered", "replayed", "truncated"]
)
async def test_a_gateway_that_meddles_is_noticed_and_the_next_request_works(
    llmos: Any, terms: BlindTerms, way: str, party: int, what: Callable[[bytes], list[bytes]]
) -> None:
    passed = Counter[tuple[str, int]]()

    def meddle(direction: str, to: int, box: bytes) -> list[bytes]:
        passed[direction, to] += 1
        return what(box) if (direction, to) == (way, party) and passed[direction, to] == 5 else [box]

    llmos.meddler.meddle = meddle
    with pytest.raises((errors.FrameInvalid, errors.PeerUnavailable)):
        await answer(caller(llmos, terms), max_tokens=20, sampling=Sampling(temperature=2.0))
    llmos.meddler.meddle = lambda direction, party, box: [box]
    assert await answer(caller(llmos, terms), max_tokens=2)


async def test_more_than_the_context_is_refused(llmos: Any, terms: BlindTerms) -> None:
    with pytest.raises(errors.ContextTooLong):
        await answer(caller(llmos, terms), max_tokens=200)
    with pytest.raises(errors.GatewayRefused, match="request_too_large"):
        await answer(caller(llmos, terms.model_copy(update={"context_tokens": 2048})), max_tokens=200)


def raw(llmos: Any, *frames: tuple[int, bytes], cut: int = 0) -> httpx.Response:
    body = b"".join(FRAME.pack(lane, len(box)) + box for lane, box in frames)
    headers = {"authorization": f"Bearer {KEY}", "content-type": CONTENT_TYPE}
    return httpx.post(llmos.url + "/v1/mpc/relay", content=body[: len(body) - cut], headers=headers, timeout=20)


def opening(**fields: Any) -> tuple[int, bytes]:
    return OPENING, json.dumps({"model": "smollm2-mpc", "tokens": 64} | fields).encode()


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ([], 400),
        ([(0, b"box")], 400),
        ([opening(tokens=0)], 400),
        ([opening(tokens="many")], 400),
        ([opening(tokens=10**9)], 413),
        ([opening(messages=[])], 400),
        ([opening(model="nobody")], 400),
        ([(OPENING, b"{")], 400),
        ([(OPENING, b"[" * 5000)], 413),
    ],
)
def test_a_bad_opening_is_refused(llmos: Any, frames: list[tuple[int, bytes]], status: int) -> None:
    assert raw(llmos, *frames).status_code == status


@pytest.mark.parametrize("frames", [[(7, b"x")], [(0, b"x" * 30)], [(1, b"x" * 32)] * 3], ids=["no such lane", "no key", "no boxes"])
def test_nonsense_after_the_opening_ends_the_request_and_nothing_else(
    llmos: Any, running_mpc: Path, frames: list[tuple[int, bytes]]
) -> None:
    reply = raw(llmos, opening(), *frames)
    assert reply.status_code == 200
    assert (b"bad_request" in reply.content) == (frames[0][0] == 7), "a party may not have said yet that it closes"
    assert b"bad_request" in raw(llmos, opening(), (0, b"x" * 32), cut=9).content
    assert all(one["ready"] for one in launch.status(running_mpc))


def test_more_boxes_than_the_announced_tokens_need_are_refused(llmos: Any) -> None:
    llmos.meddler.meddle = lambda direction, party, box: []
    reply = raw(llmos, opening(tokens=1), *[(0, b"x" * 60_000)] * 40)
    assert b"request_too_large" in reply.content
    assert len(llmos.meddler.seen) == 1
