"""Owner and shared mode over three real processes: answers, what is refused, and processes killed while randomness is in use."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpc_inference import launch, onehot, transport
from mpc_inference.client import Client, Piece
from mpc_inference.config import Deployment, read_config, write_config
from mpc_inference.errors import HandshakeRefused, InvalidSampling, ProtocolError
from mpc_inference.llama.shape import read_shape
from mpc_inference.sampling import Sampling
from tests.mpc_inference.greedy import expected

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=["owner", "shared"])
def config(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(f"tiny_{request.param}"))


@pytest.fixture(scope="module")
def running(config: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    with launch.up(config, production=False, timeout_s=60, logs=config.parent / "logs") as processes:
        yield processes


@pytest.fixture(scope="module")
def client(config: Path, running: object) -> Client:
    return launch.client(config)


async def collect(client: Client, prompt: list[int], **options: object) -> list[Piece]:
    return [piece async for piece in client.generate(prompt, **options)]  # type: ignore[arg-type]


async def test_answers_are_the_plain_model_s(config: Path, client: Client) -> None:
    for messages in ([{"role": "user", "content": "w1 w2 w3"}], [{"role": "system", "content": "w9"}, {"role": "user", "content": "w1"}]):
        prompt = client.tokens.chat(messages)
        assert [p.token for p in await collect(client, prompt, max_tokens=5)] == expected(config, prompt, 5)


async def test_several_requests_share_passes(config: Path, client: Client) -> None:
    prompts = [client.tokens.chat([{"role": "user", "content": f"w{i} w{i + 1}"}]) for i in range(3)]
    answers = await asyncio.gather(*(collect(client, p, max_tokens=3) for p in prompts))
    assert [[p.token for p in a] for a in answers] == [expected(config, p, 3) for p in prompts]


async def test_a_temperature_draws_and_top_p_is_refused(client: Client) -> None:
    prompt = client.tokens.chat([{"role": "user", "content": "w1"}])
    assert await collect(client, prompt, max_tokens=2, sampling=Sampling(temperature=1.0))
    for refused in (Sampling(temperature=1.0, top_p=0.9), Sampling(temperature=1.0, seed=4)):
        with pytest.raises(InvalidSampling):
            await collect(client, prompt, max_tokens=2, sampling=refused)


async def test_a_client_at_one_party_only_ends_alone(config: Path, client: Client) -> None:
    """Party 1 never hears of the request: it ends with an error, and what was set aside for it is not used by the next."""
    deployment = read_config(config)
    token = onehot.keys(7, read_shape(deployment.model).vocab)[0]
    place = deployment.parties[0]
    link = transport.connect(place.host, place.port, deployment.certificates, "client", "party0", 20.0)
    transport.greet(link, deployment.digest)
    link.send_control({"open": "ab" * 16, "prefix": 1, "tokens": 4, "temperature": 0})
    link.send_control({"step": 1})
    link.send(transport.WORDS, token)
    assert link.receive_control()["error"] == "DeadlineExceeded"
    link.close()
    prompt = client.tokens.chat([{"role": "user", "content": "w1 w2"}])
    assert [p.token for p in await collect(client, prompt, max_tokens=3)] == expected(config, prompt, 3)


@pytest.mark.parametrize(("role", "stage"), [("party0", "decode"), ("party1", "prefill"), ("dealer", "decode")])
async def test_a_killed_process_loses_the_request_and_nothing_else(
    config: Path, running: dict[str, subprocess.Popen[bytes]], client: Client, role: str, stage: str
) -> None:
    prompt = client.tokens.chat([{"role": "user", "content": "w1 w2 w3 w4"}])
    stream = client.generate(prompt, max_tokens=80, sampling=Sampling(temperature=2.0))

    def kill() -> None:
        os.kill(running[role].pid, signal.SIGKILL)
        running[role].wait(10)

    async def read_while_killing() -> None:
        waiting = asyncio.ensure_future(anext(stream))
        if stage == "prefill":
            await asyncio.sleep(0.02)
            kill()
        await waiting
        if stage == "decode":
            kill()
        async for _ in stream:
            pass

    with pytest.raises(ProtocolError):
        await read_while_killing()
    await stream.aclose()
    with contextlib.suppress(ProtocolError):
        await collect(client, prompt, max_tokens=1, deadline_s=3.0)
    running[role] = launch.start(role, config, config.parent / "logs" / f"{role}.log")
    launch.wait_ready(config, 40)
    assert [p.token for p in await collect(client, prompt, max_tokens=3)] == expected(config, prompt, 3)


def test_another_version_of_the_weights_is_turned_away(config: Path, running: object) -> None:
    other = config.with_name("other.yaml")
    write_config(other, Deployment.model_validate(read_config(config).model_dump() | {"digest": "0" * 64}))
    done = subprocess.run(launch.command("party0", other), capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert b"digest" in done.stderr
    with pytest.raises(HandshakeRefused):
        asyncio.run(collect(launch.client(other), [1, 3, 4], max_tokens=1))
