"""The Python examples of the pages run as they stand, against a real gateway; only the address and the key are this test's."""

from __future__ import annotations

import asyncio
import contextlib
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from gateway.stores.policies import ValkeyPolicies
from mpc_inference import folders
from tests.docs.pages import Example, blocks
from tests.faults.rig import KEY, Gateway, Upstream, await_true, running

pytestmark = pytest.mark.timeout(400)
PYTHON = [each for each in blocks() if each.language == "python"]
PLANTED = {"README.md": "Sarah Connor", "README.zh-CN.md": "李四"}
BLIND = '{"id": "blind", "extends": "default", "match": {"tenants": ["local"]}, "blind": "allow"}'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, running_mpc: Path, valkey_url: str) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("examples")
    upstream = Upstream(folder, list(PLANTED.values()))
    served = Gateway(folder / "data", upstream.url, LLMOS_MODELS="smollm2", LLMOS_REDIS_URL=valkey_url, LLMOS_MPC_CONFIG=str(running_mpc))
    with running(upstream, served):
        asyncio.run(_apply(valkey_url, BLIND))
        yield served
    assert not upstream.violations()


async def _apply(url: str, policy: str) -> None:
    redis = Redis.from_url(url)
    try:
        await ValkeyPolicies(redis).apply(policy, author="test", reason="")
    finally:
        await redis.aclose()


def run(example: Example, gateway: Gateway) -> str:
    """What it prints. `await` may stand at its top, as in a notebook."""
    addressed = example.text.replace("http://127.0.0.1:8080", gateway.url).replace("https://gateway.example", gateway.url)
    source = "async def example(key):\n" + textwrap.indent(addressed.replace("sk-llmos-…", KEY), "    ")
    names: dict[str, object] = {}
    exec(compile(source, example.page, "exec"), names)  # the pages are ours
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        asyncio.run(names["example"](KEY))  # type: ignore[operator]
    return printed.getvalue()


def test_no_python_example_is_left_out():
    assert {each.page for each in PYTHON} == {"README.md", "README.zh-CN.md", "docs/mpc-operations.md"}


@pytest.mark.parametrize(("page", "name"), PLANTED.items())
def test_the_readme_s_client_gets_its_own_words_back(page, name, gateway):
    [example] = [each for each in PYTHON if each.page == page]
    assert name in run(example, gateway)


def test_the_blind_client_gets_an_answer(gateway, running_mpc, tmp_path, monkeypatch):
    [example] = [each for each in PYTHON if each.page == "docs/mpc-operations.md"]
    folders.write(running_mpc)
    monkeypatch.chdir(running_mpc.parent / "hosts" / "blind")
    headers = {"authorization": f"Bearer {KEY}"}
    body = {"model": "smollm2-mpc", "messages": [{"role": "user", "content": "w1"}], "max_tokens": 1}
    await_true(lambda: httpx.post(gateway.url + "/v1/chat/completions", json=body, headers=headers).status_code == 200, 60, "no MPC")
    assert run(example, gateway).strip()
