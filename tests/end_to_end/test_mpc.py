"""The real model on secret shares, through a real gateway: three MPC processes, the real detector, the OpenAI SDK."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.serving.free_ports import free_port, free_ports
from mpc_inference import launch
from mpc_inference.config import Endpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FRANCE: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def config(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("mpc-smollm2")
    dealer, *parties = (Endpoint(port=port) for port in free_ports(3))
    made = launch.init(directory, model_dir, places=launch.Places(dealer, (parties[0], parties[1])))
    with launch.up(made, production=False, timeout_s=120, logs=directory / "logs"):
        launch.wait_ready(made, 240, tokens=24)
        yield made


@pytest.fixture(scope="module")
def gateway(config: Path, echo: Any, serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with serve(echo.url, tmp_path_factory.mktemp("mpc-gateway"), free_port(), LLMOS_MPC_CONFIG=str(config)) as serving:
        yield serving


def test_the_capital_of_france_is_paris_streamed(gateway: Any) -> None:
    stream = gateway.client().chat.completions.create(
        model="smollm2-mpc", messages=FRANCE, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    pieces, usage = [], None
    for event in stream:
        usage = event.usage or usage
        pieces += [choice.delta.content or "" for choice in event.choices]
    assert "".join(pieces) == "The capital of France is Paris."
    assert len([piece for piece in pieces if piece]) >= 3, "it came in pieces"
    assert usage.completion_tokens >= 7


def test_the_caller_s_values_come_back_and_stand_in_no_log(gateway: Any, config: Path) -> None:
    name = "Sarah Connor"
    messages: Any = [{"role": "user", "content": f"My name is {name}. What is my name?"}]
    answer = gateway.client().chat.completions.create(model="smollm2-mpc", messages=messages, temperature=0, max_tokens=24)
    assert name in answer.choices[0].message.content
    logs = [gateway.log, *(config.parent / "logs").glob("*.log")]
    assert len(logs) == 4
    for log in logs:
        assert name not in log.read_text()
    metrics = httpx.get(gateway.url + "/metrics", timeout=60).text
    assert 'llmos_values_total{action="surrogate",entity="PERSON"}' in metrics
    assert 'llmos_routed_total{route="mpc"}' in metrics
