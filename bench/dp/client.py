"""Private requests straight to vLLM, built by the gateway's own functions, for the benchmarks."""

from __future__ import annotations

from typing import Any

import httpx

from gateway.backends.openai_http import OpenAIServer
from gateway.backends.private_vllm import PrivateVllm
from gateway.dp.upstream import check_answer, dp_sampling_params, new_nonce, private_sampling
from policies.dp import EnsembleRule, TokenRule

MODEL = "smollm2"


class PrivateClient:
    """Completions with and without privacy. Use as an async context manager."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=300, limits=httpx.Limits(max_connections=32))
        self._server = OpenAIServer(base_url, None, connect_timeout_s=10, idle_timeout_s=300, max_connections=32)
        self.private = PrivateVllm(self._server)
        self.vocabulary = 0

    async def __aenter__(self) -> PrivateClient:
        self.vocabulary = await self.private.proven_vocabulary(MODEL)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()
        await self._server.aclose()

    async def plain(self, body: dict[str, Any], path: str = "/completions") -> dict[str, Any]:
        """One request without privacy."""
        response = await self._http.post(path, json={"model": MODEL, **body})
        response.raise_for_status()
        return dict(response.json())

    async def token(self, rule: TokenRule, prompt: str, max_tokens: int) -> dict[str, Any]:
        """One privately drawn completion, checked as the gateway checks it."""
        answer = await self.plain(
            {"prompt": prompt, "return_token_ids": True, **dp_sampling_params(private_sampling(rule, self.vocabulary), max_tokens)}
        )
        check_answer(self.vocabulary, answer)
        return answer

    async def ensemble(self, rule: EnsembleRule, prompts: list[str], max_tokens: int) -> dict[str, Any]:
        """One answer drawn from all prompts together, one a group, met as the gateway meets them."""
        params = dp_sampling_params(private_sampling(rule, self.vocabulary, new_nonce()), max_tokens)
        return await self.private.met({"model": MODEL, "prompt": prompts, **params}, self.vocabulary)
