"""From two parties' keys of a secret token to shares of its embedding: expand (onehot.py), then a private matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc_inference import onehot, prg
from mpc_inference.llama.arithmetic import Arithmetic
from mpc_inference.llama.layout import entrance_layout, layout
from mpc_inference.llama.linear import Linear
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.llama.supply import Row, Supply
from mpc_inference.native.core import U8, U64


def embed(arithmetic: Arithmetic, linear: Linear, shape: LlamaShape, rows: Sequence[Row], keys: U8) -> U64:
    """Own shares (rows, hidden) at scales.RESIDUAL of the embeddings behind the caller's keys (rows, key_bytes): one round."""
    plan, party = entrance_layout(shape), arithmetic.party
    streams = [prg.stream(r.seed, r.position, shape.layers, plan.stream_bytes(party)) for r in rows]
    tails = [r.message[shape.layers * layout(shape, r.prefix, r.own, True).message_bytes(party) :] for r in rows]
    ahead = [{"embedding": r.products[shape.layers, "embedding"]} for r in rows]
    have = Supply(party, [plan] * len(rows), streams, tails, ahead)
    chosen = np.stack([onehot.expand(arithmetic.core, party, shape.vocab, key) for key in keys])
    return linear("embedding", shape.layers, chosen, have)
