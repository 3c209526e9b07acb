"""Fidelity on the real model: the passes on shares against float32 in the clear, teacher-forced.

Both parties run as threads of this process with the production engine, dealer and transport-free exchange: the numbers are
the same as over processes, because every share is. The text is prose that ships with Python (pydoc topics), never used for calibration.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from mpc_inference import prg, roles
from mpc_inference.caller import caller
from mpc_inference.config import read_config
from mpc_inference.ledger import Ledger
from mpc_inference.llama import plain, scales
from mpc_inference.llama.answer import Bundle
from mpc_inference.llama.dealing import SessionDealing
from mpc_inference.llama.engine import Dealt, End
from mpc_inference.llama.supply import Row
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
    """Two engines of one prepared model in one process, with a dealer at hand. Private modes reveal logits here, to be compared."""

    def __init__(
        self,
        config: Path,
        reveal_logits: bool = True,
        ledgers: tuple[Ledger, Ledger] | None = None,
        on_receive: Callable[[int, bytes], None] = lambda party, theirs: None,
    ) -> None:
        deployment = read_config(config)
        self.mode = deployment.mode
        deployment = deployment.model_copy(update={"reveal": "logits" if reveal_logits and self.mode != "public" else "token"})
        self.recipe = roles.load_dealer(deployment, core(), lambda done, total: None)
        self.shape = self.recipe.shape
        self.caller = caller(deployment)
        self.ledgers = ledgers or (Ledger(), Ledger())
        boxes: tuple[queue.SimpleQueue[bytes], ...] = (queue.SimpleQueue(), queue.SimpleQueue())

        def exchange(party: int):
            def run(mine: bytes) -> bytes:
                boxes[1 - party].put(mine)
                theirs = boxes[party].get(timeout=60)
                on_receive(party, theirs)
                return theirs

            return run

        parts = [roles.load_party(deployment, p, core(), lambda done, total: None) for p in (0, 1)]
        self.engines = tuple(part.engine(exchange(p), self.ledgers[p]) for p, part in enumerate(parts))

    def session(self, prefix: int) -> Session:
        return Session(self, prefix)


class Session:
    """One sequence: `prefix` public tokens, then rows."""

    def __init__(self, pair: Pair, prefix: int) -> None:
        self._pair, self._prefix = pair, prefix
        self._seeds = (prg.new_seed(), prg.new_seed())
        self._dealing = SessionDealing(pair.recipe, prefix, self._seeds)
        self.spent: dict[str, float] = {}
        self._caches = [engine.new_cache(prefix) for engine in pair.engines]

    def one_token(self, position: int) -> dict[str, float]:
        """CPU seconds and megabytes of one token at `position`, as if all before it had been sent."""
        self._dealing.position = position
        self.spent.clear()
        self.step([1])
        return dict(self.spent)

    def step(self, tokens: list[int], temperature: int = 0) -> list[list[bytes]]:
        """Both parties' answers after each of the next tokens: [row][party]. Leaves the CPU seconds of each part in `spent`."""
        begin = time.thread_time()
        pair, first = self._pair, self._dealing.position
        dealt = [self._dealing.next() for _ in tokens]
        answer_seeds = [(prg.new_seed(), prg.new_seed()) for _ in tokens]
        bundles = [pair.recipe.answer(s) for s in answer_seeds] if pair.mode != "public" else []
        self.spent["dealer_s"] = time.thread_time() - begin
        for party in (0, 1):
            self.spent[f"offline_mb_party{party}"] = sum(len(m[party]) for m in (*dealt, *bundles)) / 1e6
        inputs = pair.caller.split(tokens)
        out: list[list[bytes] | BaseException] = [[], []]

        def run(party: int) -> None:
            engine = pair.engines[party]
            try:
                arrived = [Dealt(self._seeds[party], first + i, _bytes(m[party])) for i, m in enumerate(dealt)]
                answers = [Dealt(s[party], None, _bytes(m[party])) for s, m in zip(answer_seeds, bundles, strict=False)]
                begin = time.thread_time()
                ahead = engine.work_ahead([*arrived, *answers])
                self.spent[f"ahead_s_party{party}"] = time.thread_time() - begin
                rows = [
                    Row(self._caches[party], d.seed, d.position or 0, engine.public_rows(self._prefix), d.message, products)
                    for d, products in zip(arrived, ahead, strict=False)
                ]
                kept = [Bundle(d.seed, d.message, products) for d, products in zip(answers, ahead[len(rows) :], strict=True)]
                ends = [End(i, temperature, kept[i] if kept else None) for i in range(len(rows))]
                begin = time.thread_time()
                out[party] = engine.run(rows, np.frombuffer(inputs[party], np.uint8).reshape(len(rows), engine.row_bytes), ends)
                self.spent[f"online_s_party{party}"] = time.thread_time() - begin
            except BaseException as error:
                out[party] = error

        threads = [threading.Thread(target=run, args=(p,)) for p in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in out:
            if isinstance(one, BaseException):
                raise one
        return [list(both) for both in zip(*out, strict=True)]

    def hidden(self, tokens: list[int]) -> np.ndarray:
        """Public mode: hidden states (rows, hidden)."""
        words = [np.frombuffer(a, np.uint64) + np.frombuffer(b, np.uint64) for a, b in self.step(tokens)]
        return np.stack(words).view(np.int64) / 2**scales.RESIDUAL

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Logits (rows, vocab)."""
        return np.stack([self._pair.caller.logits(answers) for answers in self.step(tokens)])


def _bytes(message: bytes) -> np.ndarray:
    return np.frombuffer(message, np.uint8)


def text_tokens(model: Path, count: int) -> list[int]:
    """The first `count` tokens of the evaluation text."""
    tokens = ChatTokens(model)
    return tokens.encode("\n\n".join(topics[k] for k in sorted(topics)))[:count]


def measure(config: Path, count: int, window: int = 250, rows: int = 16) -> Fidelity:
    """Windows of `window` tokens after the public first token, until `count` positions are scored."""
    pair, model = Pair(config), read_config(config).model
    weights, shape = read_weights(model), pair.shape
    text = text_tokens(model, count + count // window + 1)
    agree = scored = 0
    loss = loss_float = worst = widest = 0.0
    for at in range(0, count, window):
        piece = text[at : at + window]
        tokens = np.array([pair.recipe.prefix_tokens[0], *piece], np.int64)
        reference = plain.logits(shape, weights, plain.forward(shape, weights, tokens)[0])[1:]
        session = pair.session(1)
        got = np.concatenate([session.logits(piece[i : i + rows]) for i in range(0, len(piece), rows)])
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
