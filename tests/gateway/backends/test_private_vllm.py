"""The handshake believes only a proof for its own nonce; an ensemble's answer is released only when its groups were in step throughout."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.backends.private_vllm import MEETING_ATTEMPTS, PrivateVllm
from gateway.dp.upstream import dp_sampling_params, private_sampling
from gateway.dp.vllm_plugin.handshake import ProvenModel, proof
from gateway.dp.vllm_plugin.request import KEY
from gateway.errors import BadRequest, Unavailable, UpstreamFailed
from policies.dp import EnsembleRule

V = 300
SENTINEL = V - 1
RULE = EnsembleRule(kind="ensemble", groups=2, clip=4.0, temperature=1.0, max_tokens=8)


class Server:
    """vLLM's completions endpoint, as `answer` says, behind the interface of OpenAIServer."""

    base_url = "http://nowhere/v1"

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._answer = answer

    async def whole(self, method: str, path: str, body: dict[str, Any]) -> Any:
        self.bodies.append(body)
        return self._answer(body)


def private(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> tuple[PrivateVllm, Server]:
    server = Server(answer)
    return PrivateVllm(server), server  # type: ignore[arg-type]


def choice(token_ids: list[int], reason: str = "stop", **more: Any) -> dict[str, Any]:
    return {"text": "x", "finish_reason": reason, "token_ids": token_ids, **more}


def plugin(body: dict[str, Any]) -> dict[str, Any]:
    xargs = body.get("vllm_xargs") or {}
    if xargs.get(KEY) == "handshake":
        return {"choices": [choice(proof(xargs[f"{KEY}_nonce"], ProvenModel(V, 1)))]}
    return {"choices": [choice([SENTINEL], stop_reason=SENTINEL)]}


async def test_a_server_with_the_plugin_is_proven_once_in_a_while() -> None:
    vllm, server = private(plugin)
    assert await vllm.proven_vocabulary("m") == V
    asked = len(server.bodies)
    assert await vllm.proven_vocabulary("m") == V
    assert len(server.bodies) == asked
    await vllm.proven_vocabulary("m@r2")  # each model by itself
    assert len(server.bodies) == 2 * asked


def plain(body: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [choice([5] * 12)]}


def replayed(body: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [choice(proof("n" * 32, ProvenModel(V, 1)))]}


def untrapped(body: dict[str, Any]) -> dict[str, Any]:
    """The plugin is there, but this model's logits span over 100: the trap would not catch an un-noised answer."""
    answer = plugin(body)
    return answer if body.get("vllm_xargs") else {"choices": [choice([7])]}


def refusing(body: dict[str, Any]) -> dict[str, Any]:
    raise BadRequest("unknown field")


@pytest.mark.parametrize("answer", [plain, replayed, untrapped, refusing, lambda body: {}, lambda body: {"choices": [None]}])
async def test_anything_else_is_refused(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    vllm, _ = private(answer)
    for _ in range(2):  # a failure is not remembered as a proof
        with pytest.raises((UpstreamFailed, BadRequest)):
            await vllm.proven_vocabulary("m")


def body() -> dict[str, Any]:
    return {"model": "m", "prompt": [[1, 2], [3]], **dp_sampling_params(private_sampling(RULE, V, "e" * 16), 8)}


def ensemble(*rounds: list[dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    left = list(rounds)

    def answer(given: dict[str, Any]) -> dict[str, Any]:
        return {"choices": [choice([9])]} if given["prompt"] == "1" else {"choices": left.pop(0) if len(left) > 1 else left[0]}

    return answer


PARTED = [choice([4, SENTINEL], stop_reason=SENTINEL), choice([SENTINEL], stop_reason=SENTINEL)]
MET = [choice([4, 6, 2]), choice([4, 6, 2])]


async def test_groups_that_part_at_their_start_are_sent_again_under_a_fresh_name() -> None:
    vllm, server = private(ensemble(PARTED, MET))
    answer = await vllm.met(body(), V)
    assert answer == {"choices": [MET[0]], "usage": {"completion_tokens": 3}}
    names = [each["vllm_xargs"][f"{KEY}_ensemble"] for each in server.bodies if each["prompt"] != "1"]
    assert len(set(names)) == len(names) == 2


async def test_groups_that_never_meet_are_a_refusal() -> None:
    vllm, server = private(ensemble(PARTED))
    with pytest.raises(Unavailable) as caught:
        await vllm.met(body(), V)
    assert not isinstance(caught.value, UpstreamFailed)  # nothing is owed: see gateway.dp.charge
    assert sum(each["prompt"] != "1" for each in server.bodies) == MEETING_ATTEMPTS


@pytest.mark.parametrize(
    "choices",
    [
        [choice([4, 6, 7, SENTINEL], stop_reason=SENTINEL), choice([4, 6, 7, SENTINEL], stop_reason=SENTINEL)],  # parted later
        [choice([4, 6, 2]), choice([4, 5, 2])],  # different tokens
        [choice([4, 6, 2], "abort"), choice([4, 6, 2], "abort")],
        [choice([4, 6, 2], logprobs={}), choice([4, 6, 2])],
    ],
)
async def test_groups_that_were_not_in_step_throughout_release_nothing(choices: list[dict[str, Any]]) -> None:
    vllm, _ = private(ensemble(choices))
    with pytest.raises(UpstreamFailed):
        await vllm.met(body(), V)
