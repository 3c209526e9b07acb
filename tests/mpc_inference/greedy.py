"""What a deployment's model answers in the clear: the tokens that an answer on shares must have at temperature 0."""

from pathlib import Path

import numpy as np

from mpc_inference.config import read_config
from mpc_inference.llama import plain
from mpc_inference.llama.shape import read_shape
from mpc_inference.llama.weights import read_weights
from tests.mpc_inference.tiny_model import WORDS

END = WORDS.index("<end>")


def expected(config: Path, prompt: list[int], count: int) -> list[int]:
    """At most `count` tokens; the end token, where it comes, is the last."""
    model = read_config(config).model
    shape, weights, tokens = read_shape(model), read_weights(model), list(prompt)
    for _ in range(count):
        hidden, _ = plain.forward(shape, weights, np.array(tokens))
        tokens.append(int(plain.logits(shape, weights, hidden[-1:])[0].argmax()))
        if tokens[-1] == END:
            break
    return tokens[len(prompt) :]
