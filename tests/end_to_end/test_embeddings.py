"""/v1/embeddings before a real vLLM that embeds: a second process with `--runner pooling`, here with SmolLM2's own hidden states."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.serving import vllm_server
from gateway.serving.free_ports import free_port

START_DEADLINE_S = 280.0
WIDTH = 576  # SmolLM2-135M's hidden size


@pytest.fixture(scope="module")
def embedding_server(
    run_vllm: Callable[..., Any], vllm_python: Path, model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    server = vllm_server.VllmServer(vllm_python, model_dir, free_port(), "smollm2-embedding", embeds=True)
    with run_vllm(server, tmp_path_factory.mktemp("pooling") / "vllm.log", START_DEADLINE_S) as base_url:
        yield base_url


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.timeout(500)
def test_real_embeddings_are_made_of_scrubbed_text(serve: Callable[..., Any], echo: Any, embedding_server: str, tmp_path: Path) -> None:
    text = "Sarah Connor lives in Paris."
    with serve(echo.url, tmp_path, free_port(), LLMOS_EMBEDDINGS_UPSTREAM=embedding_server) as gateway:
        client = gateway.client()
        assert {"echo", "smollm2-embedding"} <= {each.id for each in client.models.list()}
        conversation = {"x-llmos-conversation": "one"}  # within a conversation a person has one stand-in, and so one embedding
        answer = client.embeddings.create(model="smollm2-embedding", input=[text, "The sky is blue."], extra_headers=conversation)
        assert [len(each.embedding) for each in answer.data] == [WIDTH, WIDTH]  # base64 on the wire, as the SDK asks by itself
        again = client.embeddings.create(model="smollm2-embedding", input=text, encoding_format="float", extra_headers=conversation)
        assert again.data[0].embedding == pytest.approx(answer.data[0].embedding, abs=2e-2)
        sent = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": text}], extra_headers=conversation)
        assert sent.choices[0].message.content == text
        stand_in = json.loads(echo.bodies[-1])["messages"][-1]["content"]
        assert "Connor" not in stand_in
        direct = openai.OpenAI(base_url=embedding_server, api_key="none").embeddings.create(model="smollm2-embedding", input=stand_in)
        assert direct.data[0].embedding == pytest.approx(again.data[0].embedding, abs=2e-2), "the server was sent the stand-in"
