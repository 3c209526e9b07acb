"""Shakes hands with a vLLM that carries the private-sampling plugin, and draws an ensemble's answer from it.

The handshake (`gateway.dp.upstream`) is repeated after `PROOF_S`; between two of them every answer carries its own proof.

Ensembles. The rows of one ensemble have to be in the same decoding step from the first token on. They are sent as one
completion request with a prompt a group; while they arrive, a short public request keeps the engine busy, so that all of them
are waiting when the next step begins. The plugin draws only if they are all there, and ends them by the sentinel if not;
then the request is sent again (the prompts are then in the prefix cache) with a fresh draw, and nothing of the failed one is
released. Only rows that part at their start are sent again: that is decided by the prompts, before a drawn token could have a part
in it. Rows that part later fail the answer, which is charged. docs/decisions/ holds the measurements.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gateway.backends.openai_http import OpenAIServer
from gateway.dp.upstream import GROUPS, check_answer, check_trap, handshake_body, new_nonce, read_handshake, trap_body
from gateway.dp.vllm_plugin.request import KEY
from gateway.errors import Unavailable, UpstreamFailed
from gateway.exchange import Json, Routed

PROOF_S = 30.0
MEETING_ATTEMPTS = 12
_START_TOKENS = 2  # one that a row drew while another was still being read, and the sentinel
_CARRIER_LEAD_S = 0.02
_CARRIER_TOKENS = 3
_TRAP_PROMPTS = ("The", "{", "1 2 3", "Dear Sir or Madam,")


class PrivateVllm:
    """The port `PrivateServer` over one vLLM."""

    def __init__(self, server: OpenAIServer) -> None:
        self._server = server
        self._proven: dict[str, tuple[float, int]] = {}
        self._lock = asyncio.Lock()

    async def proven_vocabulary(self, model: str) -> int:
        """Raises UpstreamFailed where the server does not carry the plugin, or the per-response check does not hold for the model."""
        async with self._lock:
            at_s, vocabulary = self._proven.get(model, (float("-inf"), 0))
            if time.monotonic() - at_s < PROOF_S:
                return vocabulary
            self._proven.pop(model, None)
            nonce = new_nonce()
            try:
                served = read_handshake(nonce, await self._completion(handshake_body(model, nonce)))
                for prompt in _TRAP_PROMPTS:
                    check_trap(served, await self._completion(trap_body(model, served, prompt)))
            except UpstreamFailed:
                raise
            except Exception as error:  # a server without the plugin may refuse the arguments
                raise UpstreamFailed("The model server does not take part in the private-sampling handshake.") from error
            self._proven[model] = (time.monotonic(), served.vocabulary)
            return served.vocabulary

    async def pooled(self, routed: Routed) -> Json:
        """One choice for the whole ensemble. Raises as `met` does."""
        private = routed.scrubbed.admitted.private
        assert private is not None
        assert private.vocabulary is not None
        body = dict(routed.body)
        prompts = await asyncio.gather(*(self._tokens(routed.model, messages) for messages in body.pop(GROUPS)))
        return await self.met({**body, "model": routed.model, "prompt": prompts}, private.vocabulary)

    async def met(self, body: Json, vocabulary: int) -> Json:
        """One choice for a completion body with a prompt a group, drawn with all groups in step.

        Raises Unavailable where they could not be brought into step, UpstreamFailed, UpstreamTimeout.
        """
        for _ in range(MEETING_ATTEMPTS):
            fresh = {**body, "vllm_xargs": body["vllm_xargs"] | {f"{KEY}_ensemble": new_nonce()}, "return_token_ids": True}
            answer = await self._together(fresh)
            choices = answer.get("choices") or []
            in_step = [choice for choice in choices if choice.get("stop_reason") != vocabulary - 1]
            if len(in_step) == len(body["prompt"]):
                return self._one(vocabulary, choices, answer)
            if any(len(choice.get("token_ids") or ()) > _START_TOKENS for choice in choices):
                raise UpstreamFailed("The groups of the ensemble fell out of step in the middle of their answer; nothing was released.")
        raise Unavailable("The groups of the ensemble could not be kept in one step of the model server; nothing was released.")

    async def _together(self, body: Json) -> Json:
        carrier = {"model": body["model"], "prompt": "1", "max_tokens": _CARRIER_TOKENS, "temperature": 0, "ignore_eos": True}
        busy = asyncio.create_task(self._completion(carrier))
        try:
            await asyncio.sleep(_CARRIER_LEAD_S)
            return await self._completion(body)
        finally:
            await asyncio.wait({busy}, timeout=5.0)
            busy.cancel()

    def _one(self, vocabulary: int, choices: list[Json], answer: Json) -> Json:
        if any(choice.get("token_ids") != choices[0].get("token_ids") for choice in choices):
            raise UpstreamFailed("The groups of the ensemble were given different tokens; nothing was released.")
        check_answer(vocabulary, answer)
        drawn = len(choices[0].get("token_ids") or ())
        return {"choices": [choices[0]], "usage": {"completion_tokens": drawn}}

    async def _tokens(self, model: str, messages: list[Json]) -> list[int]:
        root = self._server.base_url.removesuffix("/v1")
        answer = await self._server.whole("POST", f"{root}/tokenize", {"model": model, "messages": messages, "add_generation_prompt": True})
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, list):
            raise UpstreamFailed("The model server's /tokenize did not answer with token ids.")
        return tokens

    async def _completion(self, body: Json) -> Json:
        answer: Any = await self._server.whole("POST", "/completions", body)
        if not isinstance(answer, dict):
            raise UpstreamFailed("The model server's answer is not a JSON object.")
        return answer
