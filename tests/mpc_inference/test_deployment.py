"""Three real processes: an answer, bad input, and every process killed at every stage."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mpc_inference import launch, transport
from mpc_inference.client import Client, Piece
from mpc_inference.config import Deployment, read_config, write_config
from mpc_inference.errors import (
    Busy,
    ConfigInvalid,
    ContextTooLong,
    DeadlineExceeded,
    FrameInvalid,
    InvalidSampling,
    PeerUnavailable,
    ProtocolError,
    RequestRefused,
    SessionLost,
)
from mpc_inference.pair import Direct
from mpc_inference.sampling import Sampling
from tests.mpc_inference.greedy import expected

pytestmark = pytest.mark.timeout(180)
ROLES = ("dealer", "party0", "party1")


@pytest.fixture(scope="module")
def running(tiny: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    with launch.up(tiny, production=False, timeout_s=60, logs=tiny.parent / "logs") as processes:
        yield processes


@pytest.fixture(scope="module")
def client(tiny: Path, running: object) -> Client:
    return launch.client(tiny)


async def collect(client: Client, prompt: list[int], **options: object) -> list[Piece]:
    return [piece async for piece in client.generate(prompt, **options)]  # type: ignore[arg-type]


async def test_the_answer_is_the_plain_model_s(tiny: Path, client: Client) -> None:
    prompt = client.tokens.chat([{"role": "user", "content": "w1 w2 w3 w4"}])
    pieces = await collect(client, prompt, max_tokens=6)
    assert [p.token for p in pieces] == expected(tiny, prompt, 6)
    assert pieces[-1].finish in ("stop", "length")
    assert all(p.finish is None for p in pieces[:-1])


async def test_a_private_system_prompt_shows_only_its_first_token(client: Client) -> None:
    own = client.tokens.chat([{"role": "system", "content": "w9"}, {"role": "user", "content": "w1"}])
    usual = client.tokens.chat([{"role": "user", "content": "w1"}])
    assert client.public_tokens(own) == 1
    assert client.public_tokens(usual) > 1
    assert len(await collect(client, own, max_tokens=2)) >= 1


async def test_several_requests_share_passes_and_agree_with_one_alone(tiny: Path, client: Client) -> None:
    prompts = [client.tokens.chat([{"role": "user", "content": f"w{i} w{i + 1}"}]) for i in range(3)]
    answers = await asyncio.gather(*(collect(client, p, max_tokens=4) for p in prompts))
    assert [[p.token for p in a] for a in answers] == [expected(tiny, p, 4) for p in prompts]


async def test_stop_text_and_sampling(client: Client) -> None:
    prompt = client.tokens.chat([{"role": "user", "content": "w5"}])
    free = await collect(client, prompt, max_tokens=4, sampling=Sampling(temperature=1.0, seed=3))
    again = await collect(client, prompt, max_tokens=4, sampling=Sampling(temperature=1.0, seed=3))
    assert [p.token for p in free] == [p.token for p in again]
    word = "".join(p.text for p in free).split()[0]
    stopped = await collect(client, prompt, max_tokens=4, sampling=Sampling(temperature=1.0, seed=3), stop=(word,))
    assert stopped[-1].finish == "stop"
    assert word not in "".join(p.text for p in stopped)


@pytest.mark.parametrize(
    ("prompt", "options", "error"),
    [
        ([5, 6], {"max_tokens": 2}, RequestRefused),
        ([1, 3], {"max_tokens": 0}, InvalidSampling),
        ([1] * 200, {"max_tokens": 2}, ContextTooLong),
        ([1, 3, 4], {"max_tokens": 3, "deadline_s": 1e-9}, DeadlineExceeded),
    ],
)
async def test_bad_requests_are_refused(client: Client, prompt: list[int], options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        await collect(client, prompt, **options)


def test_sampling_out_of_range() -> None:
    for bad in ({"temperature": 2.5}, {"temperature": -1.0}, {"top_p": 0.0}):
        with pytest.raises(InvalidSampling):
            Sampling(**bad)


async def test_the_queue_is_bounded_and_says_when_to_return(client: Client) -> None:
    prompt = client.tokens.chat([{"role": "user", "content": "w1 w2"}])
    results = await asyncio.gather(
        *(collect(client, prompt, max_tokens=12, sampling=Sampling(temperature=2.0)) for _ in range(20)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, Busy)]
    assert refused
    assert all(r.retry_after_s > 0 for r in refused)
    assert all(isinstance(r, (list, Busy)) for r in results)
    assert await collect(client, prompt, max_tokens=1)


async def test_cancelling_frees_the_parties(tiny: Path, client: Client) -> None:
    prompt = client.tokens.chat([{"role": "user", "content": "w1 w2"}])
    stream = client.generate(prompt, max_tokens=60, sampling=Sampling(temperature=2.0))
    await anext(stream)
    await stream.aclose()
    until = time.monotonic() + 10
    while launch.status(tiny)[0]["requests"] and time.monotonic() < until:  # noqa: ASYNC110 - asks another process
        await asyncio.sleep(0.1)
    assert launch.status(tiny)[0]["requests"] == 0


def test_up_refuses_in_production(tiny: Path) -> None:
    with pytest.raises(ConfigInvalid, match="production"), launch.up(tiny, production=True):
        pass


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("stage", ["idle", "prefill", "decode"])
async def test_a_killed_process_loses_the_request_and_nothing_else(
    tiny: Path, running: dict[str, subprocess.Popen[bytes]], client: Client, role: str, stage: str
) -> None:
    prompt = client.tokens.chat([{"role": "user", "content": "w1 w2 w3 w4 w5 w6"}])
    launch.wait_ready(tiny, 30)

    def kill() -> None:
        os.kill(running[role].pid, signal.SIGKILL)
        running[role].wait(10)

    if stage == "idle":
        kill()
    else:
        stream = client.generate(prompt, max_tokens=80, sampling=Sampling(temperature=2.0))

        async def read_while_killing() -> None:
            waiting = asyncio.ensure_future(anext(stream))
            if stage == "prefill":
                await asyncio.sleep(0.02)
                kill()
                await waiting
            else:
                await waiting
                kill()
            async for _ in stream:
                pass

        with pytest.raises((PeerUnavailable, SessionLost, ProtocolError)):
            await read_while_killing()
        await stream.aclose()
    with contextlib.suppress(ProtocolError):
        await collect(client, prompt, max_tokens=1, deadline_s=3.0)
    running[role] = launch.start(role, tiny, tiny.parent / "logs" / f"{role}.log")
    launch.wait_ready(tiny, 40)
    pieces = await collect(client, prompt, max_tokens=3)
    assert [p.token for p in pieces] == expected(tiny, prompt, 3)


def test_a_party_with_other_weights_is_turned_away(tiny: Path, running: object) -> None:
    given = read_config(tiny)
    other = tiny.with_name("other.yaml")
    write_config(other, Deployment.model_validate(given.model_dump() | {"digest": "0" * 64}))
    done = subprocess.run(launch.command("party0", other), capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert b"digest" in done.stderr


def test_a_taken_port_is_named(tiny: Path, running: object) -> None:
    done = subprocess.run(launch.command("party0", tiny), capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert b"port" in done.stderr


class Uneven(Direct):
    """A client that tells or sends the two parties different things. Only it may suffer."""

    def __init__(self, deployment: Deployment, change: Callable[[int, dict[str, object]], dict[str, object] | None]) -> None:
        super().__init__(deployment)
        for party, link in enumerate(self.links):
            send_control, send = link.send_control, link.send

            def control(message: dict[str, object], party: int = party, tell: Callable[..., None] = send_control) -> None:
                if (changed := change(party, message)) is not None:
                    tell(changed)

            def words(kind: int, payload: bytes, party: int = party, tell: Callable[..., None] = send) -> None:
                if kind != transport.WORDS or change(party, {"step": 1}) is not None:
                    tell(kind, payload)

            link.send_control, link.send = control, words  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "change",
    [
        lambda party, message: message | {"temperature": 7} if party and "open" in message else message,
        lambda party, message: message | {"prefix": 1} if party and "open" in message else message,
        lambda party, message: None if party and "step" in message else message,
        lambda party, message: None if party else message,
    ],
    ids=["another temperature", "another prefix", "no share for party 1", "nothing for party 1"],
)
async def test_a_client_that_tells_the_parties_different_things_holds_nobody_up(
    tiny: Path, client: Client, change: Callable[[int, dict[str, object]], dict[str, object] | None]
) -> None:
    deployment = read_config(tiny)
    epochs = launch.status(tiny)[0]["epochs"]
    uneven = Client(deployment, lambda tokens: Uneven(deployment, change))
    prompt = client.tokens.chat([{"role": "user", "content": "w1 w2 w3"}])
    wrong = asyncio.create_task(collect(uneven, prompt, max_tokens=3))
    await asyncio.sleep(0.1)
    assert [p.token for p in await collect(client, prompt, max_tokens=2)] == expected(tiny, prompt, 2)
    answered_first = not wrong.done()
    with pytest.raises((FrameInvalid, DeadlineExceeded, PeerUnavailable)) as ended:
        await wrong
    assert answered_first or ended.type is not DeadlineExceeded, "nobody waits as long as party 0 waits for the rest of such a request"
    assert launch.status(tiny)[0]["epochs"] == epochs
