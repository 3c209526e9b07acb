"""Arguments are read strictly, survive the way to vLLM, and a private request can carry nothing that changes the draw."""

import pytest

from gateway.dp.vllm_plugin.request import PrivateSampling, from_xargs, validate

GOOD = PrivateSampling(kind="exponential", sentinel=99, clip=4.0, temperature=2.0)


class Params:
    """The fields of vLLM's SamplingParams that the check reads, with its defaults."""

    __struct_fields__ = (
        "temperature", "top_p", "top_k", "min_p", "seed", "logprobs", "min_tokens", "presence_penalty", "logit_bias",
        "stop_token_ids", "extra_args", "ignore_eos", "max_tokens", "_internal",
    )  # fmt: skip

    def __init__(self, **given: object) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, given.get(name, {"temperature": 1.0, "top_p": 1.0, "max_tokens": 16}.get(name)))


def private(**changes: object) -> Params:
    given = {"temperature": 0.0, "logit_bias": {99: 100.0}, "stop_token_ids": [99], "extra_args": GOOD.to_xargs()} | changes
    return Params(**given)


@pytest.mark.parametrize(
    "sampling",
    [
        GOOD,
        PrivateSampling(kind="argmax", sentinel=3, epsilon=2.5),
        PrivateSampling(kind="ensemble", sentinel=3, clip=1.0, temperature=1.0, groups=4, ensemble="a" * 32),
        PrivateSampling(kind="handshake", sentinel=-1, nonce="b" * 32),
    ],
)
def test_arguments_survive_the_way(sampling: PrivateSampling) -> None:
    assert from_xargs(sampling.to_xargs()) == sampling


def test_other_requests_are_not_ours() -> None:
    assert from_xargs(None) is None
    assert from_xargs({"something": 1}) is None
    validate(Params(extra_args=None, seed=3))


@pytest.mark.parametrize(
    "extra",
    [
        {"llmos_dp_clip": 1.0},
        {"llmos_dp": "other", "llmos_dp_sentinel": 1},
        {"llmos_dp": "exponential", "llmos_dp_sentinel": 1, "llmos_dp_clip": 0.0, "llmos_dp_temperature": 1.0},
        {"llmos_dp": "exponential", "llmos_dp_sentinel": 1, "llmos_dp_clip": "4", "llmos_dp_temperature": 1.0},
        {"llmos_dp": "exponential", "llmos_dp_sentinel": 1, "llmos_dp_clip": 4.0},
        {"llmos_dp": "exponential", "llmos_dp_clip": 4.0, "llmos_dp_temperature": 1.0},
        {"llmos_dp": "exponential", "llmos_dp_sentinel": 1, "llmos_dp_clip": 4.0, "llmos_dp_temperature": 1.0, "seed": 1},
        {"llmos_dp": "argmax", "llmos_dp_sentinel": 1, "llmos_dp_epsilon": float("nan")},
        {"llmos_dp": "handshake", "llmos_dp_sentinel": -1, "llmos_dp_nonce": "short"},
    ],
)
def test_wrong_arguments_are_refused(extra: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        from_xargs(extra)


def test_a_clean_private_request_passes() -> None:
    validate(private())


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 1.0},
        {"top_p": 0.9},
        {"seed": 7},
        {"logprobs": 1},
        {"min_tokens": 4},
        {"presence_penalty": 0.5},
        {"ignore_eos": True},
        {"logit_bias": None},
        {"logit_bias": {99: 100.0, 3: 5.0}},
        {"stop_token_ids": [1]},
    ],
)
def test_anything_beside_the_private_arguments_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="private request"):
        validate(private(**change))
