"""What a caller does with its own tokens and the parties' answers: in the clear here, in shares everywhere else.

Open weights: the caller embeds, splits the embedding into two uniform shares, adds the answers and applies norm, head and its own draw.
Private weights: the caller makes two keys of the token, and adds shares of the next token's number; where the deployment reveals logits, it
draws from those itself. It does NOT see weights in the private modes, except what answers give away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mpc_inference import onehot, prg
from mpc_inference.config import Terms
from mpc_inference.errors import FrameInvalid, InvalidSampling
from mpc_inference.llama import plain, scales
from mpc_inference.llama.shape import LlamaShape, read_shape
from mpc_inference.llama.weights import read_weights
from mpc_inference.sampling import Sampling

_CLIENT_TENSORS = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
_TEMPERATURE_UNIT = 64  # answer.TEMPERATURE_FRACTION as a factor


class Caller(Protocol):
    """One mode's side of the caller."""

    @property
    def row_bytes(self) -> int:
        """What each party gets for one token."""
        ...

    def temperature(self, sampling: Sampling) -> int:
        """What the parties are told, in 1/64. Raises InvalidSampling for what they cannot do."""
        ...

    def split(self, tokens: Sequence[int]) -> tuple[bytes, bytes]:
        """What each party gets for these tokens."""
        ...

    def next(self, answers: Sequence[bytes], sampling: Sampling, position: int) -> int:
        """The next token from both parties' answers. Raises FrameInvalid."""
        ...


def _sum(answers: Sequence[bytes], dtype: type[np.uint32] | type[np.uint64], count: int) -> NDArray[Any]:
    size = count * np.dtype(dtype).itemsize
    if any(len(one) != size for one in answers):
        raise FrameInvalid("a party answered with words of another size")
    first: NDArray[Any] = np.frombuffer(answers[0], dtype)
    return np.asarray(first + np.frombuffer(answers[1], dtype))


class OpenCaller:
    """Open weights: holds embedding and head (113 MB for SmolLM2-135M)."""

    def __init__(self, model: Path) -> None:
        self._shape = read_shape(model)
        self._weights = read_weights(model, _CLIENT_TENSORS)
        self.row_bytes = self._shape.hidden * np.dtype(np.uint64).itemsize

    def temperature(self, sampling: Sampling) -> int:
        return 0

    def split(self, tokens: Sequence[int]) -> tuple[bytes, bytes]:
        embedded = self._weights["model.embed_tokens.weight"][list(tokens)].astype(np.float64)
        words = np.rint(embedded * 2**scales.RESIDUAL).astype(np.int64).view(np.uint64)
        first = prg.uniform_words(*words.shape)
        return first.tobytes(), (words - first).tobytes()

    def next(self, answers: Sequence[bytes], sampling: Sampling, position: int) -> int:
        return sampling.draw(self.logits(answers), position)

    def logits(self, answers: Sequence[bytes]) -> plain.F32:
        """Logits (vocab,) from shares of one hidden state. Raises FrameInvalid."""
        words = _sum(answers, np.uint64, self._shape.hidden)
        hidden = (words.view(np.int64) / 2**scales.RESIDUAL).astype(np.float32)
        return np.asarray(plain.logits(self._shape, self._weights, hidden[None])[0])


class PrivateCaller:
    """Private weights: holds nothing of the model but its shape."""

    def __init__(self, shape: LlamaShape, reveal_logits: bool) -> None:
        self._vocab, self._reveal_logits = shape.vocab, reveal_logits
        self.row_bytes = onehot.key_bytes(shape.vocab)

    def temperature(self, sampling: Sampling) -> int:
        if self._reveal_logits:
            return 0
        if sampling.top_p < 1.0 or sampling.seed is not None:
            raise InvalidSampling("with private weights the parties draw the token: top_p and seed are not available, temperature is")
        return round(sampling.temperature * _TEMPERATURE_UNIT)

    def split(self, tokens: Sequence[int]) -> tuple[bytes, bytes]:
        made = [onehot.keys(token, self._vocab) for token in tokens]
        return b"".join(first for first, _ in made), b"".join(second for _, second in made)

    def next(self, answers: Sequence[bytes], sampling: Sampling, position: int) -> int:
        if self._reveal_logits:
            return sampling.draw(self.logits(answers), position)
        token = int(_sum(answers, np.uint32, 1)[0])
        if token >= self._vocab:
            raise FrameInvalid("the parties' answers add up to no token")
        return token

    def logits(self, answers: Sequence[bytes]) -> plain.F32:
        """Logits (vocab,) from their shares, where the deployment reveals them. Raises FrameInvalid."""
        words = _sum(answers, np.uint64, self._vocab)
        return np.asarray(words.view(np.int64) / 2 ** (scales.HIDDEN + scales.WEIGHT_BITS["head"]), np.float32)


def caller(terms: Terms) -> OpenCaller | PrivateCaller:
    """For a deployment's mode. Raises ModelUnsupported."""
    return OpenCaller(terms.model) if terms.mode == "public" else PrivateCaller(read_shape(terms.model), terms.reveal == "logits")
