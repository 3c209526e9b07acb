"""Fidelity on the real model: the passes on shares against float32 in the clear, teacher-forced.

Both parties run as threads of this process with the production engine, dealer and transport-free exchange: the numbers are
the same as over processes, because every share is. The text is prose that ships with Python (pydoc topics), never used for calibration.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from mpc_inference import prg
from mpc_inference.ledger import Ledger
from mpc_inference.llama import artifact, plain, scales
from mpc_inference.llama.deal import deal_layer
from mpc_inference.llama.on_shares import Row, SharedLlama
from mpc_inference.llama.weights import read_weights
from mpc_inference.native.core import core
from mpc_inference.tokens import ChatTokens


@dataclass
class Fidelity:
    """Aggregates over all scored positions."""

    tokens: int
    agreement: float
    perplexity: float
    perplexity_float: float
    worst_logit: float
    widest_mismatch_gap: float


class Pair:
    """Two engines of one prepared model in one process, with a dealer at hand."""

    def __init__(self, prepared: Path) -> None:
        self.model = artifact.load(prepared)
        self.ledgers = (Ledger(), Ledger())
        boxes: tuple[queue.SimpleQueue[bytes], ...] = (queue.SimpleQueue(), queue.SimpleQueue())

        def exchange(party: int):
            def run(mine: bytes) -> bytes:
                boxes[1 - party].put(mine)
                return boxes[party].get(timeout=60)

            return run

        self.engines = tuple(SharedLlama(core(), p, self.model, exchange(p), self.ledgers[p]) for p in (0, 1))

    def session(self, prefix: int, capacity: int) -> Session:
        return Session(self, prefix, capacity)


class Session:
    """One sequence: deals for each position, runs both parties, answers reconstructed hidden states."""

    def __init__(self, pair: Pair, prefix: int, capacity: int) -> None:
        shape = pair.model.shape
        self._pair, self._prefix, self._at = pair, prefix, prefix
        self._seeds = (prg.new_seed(), prg.new_seed())
        self._masks = [np.zeros((shape.layers, capacity, shape.kv_width), np.uint64) for _ in "kv"]
        self._caches = [engine.new_cache() for engine in pair.engines]

    def step(self, embedded: np.ndarray) -> np.ndarray:
        """Hidden states (rows, hidden) of the next rows."""
        pair, shape = self._pair, self._pair.model.shape
        positions = range(self._at, self._at + len(embedded))
        dealt = [
            [deal_layer(core(), shape, i, self._prefix, p, self._seeds, self._masks[0][i], self._masks[1][i]) for i in range(shape.layers)]
            for p in positions
        ]
        ints = np.rint(embedded.astype(np.float64) * 2**scales.RESIDUAL).astype(np.int64).view(np.uint64)
        first = prg.uniform_words(*ints.shape)
        out: list[np.ndarray | BaseException] = [ValueError(), ValueError()]

        def run(party: int, share: np.ndarray) -> None:
            try:
                rows = [
                    Row(
                        self._caches[party],
                        self._seeds[party],
                        p,
                        self._prefix,
                        np.frombuffer(b"".join(one[party] for one in made), np.uint8),
                    )
                    for p, made in zip(positions, dealt, strict=True)
                ]
                out[party] = pair.engines[party].forward(rows, share)
            except BaseException as error:
                out[party] = error

        threads = [threading.Thread(target=run, args=(p, s)) for p, s in enumerate((first, ints - first))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in out:
            if isinstance(one, BaseException):
                raise one
        self._at += len(embedded)
        return (out[0] + out[1]).view(np.int64) / 2**scales.RESIDUAL


def text_tokens(model: Path, count: int) -> list[int]:
    """The first `count` tokens of the evaluation text."""
    tokens = ChatTokens(model)
    return tokens.encode("\n\n".join(topics[k] for k in sorted(topics)))[:count]


def measure(model: Path, prepared: Path, count: int, window: int = 250, rows: int = 16) -> Fidelity:
    """Windows of `window` tokens after the public first token, until `count` positions are scored."""
    pair, weights = Pair(prepared), read_weights(model)
    shape = pair.model.shape
    text = text_tokens(model, count + count // window + 1)
    agree = scored = 0
    loss = loss_float = worst = widest = 0.0
    for at in range(0, count, window):
        piece = text[at : at + window]
        tokens = np.array([pair.model.prefix_tokens[0], *piece], np.int64)
        reference = plain.logits(shape, weights, plain.forward(shape, weights, tokens)[0])[1:]
        session = pair.session(1, len(piece))
        hidden = np.concatenate(
            [session.step(weights["model.embed_tokens.weight"][tokens[i : i + rows]]) for i in range(1, len(tokens), rows)]
        )
        got = plain.logits(shape, weights, hidden.astype(np.float32))
        same = got.argmax(-1) == reference.argmax(-1)
        agree, scored = agree + int(same.sum()), scored + len(same)
        worst = max(worst, float(np.abs(got - reference).max()))
        for row in reference[~same]:
            top = np.partition(row, -2)[-2:]
            widest = max(widest, float(abs(top[1] - top[0])))
        target = tokens[2:]
        for logits, kind in ((got, 0), (reference, 1)):
            shifted = logits[:-1] - logits[:-1].max(-1, keepdims=True)
            nll = float((np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(target)), target]).sum())
            loss, loss_float = (loss + nll, loss_float) if kind == 0 else (loss, loss_float + nll)
        print(
            f"  {scored} tokens: agreement {agree / scored:.4f}, max |dlogit| {worst:.3f}, "
            f"ppl {np.exp((loss - loss_float) / scored) - 1:+.4%}, widest {widest:.3f}",
            flush=True,
        )
    words = scored - len(range(0, count, window))
    return Fidelity(scored, agree / scored, float(np.exp(loss / words)), float(np.exp(loss_float / words)), worst, widest)
