"""Where the binary point of every value lies, and in which ring it lives.

A share is a word modulo 2^64. A local right shift by t is exact to one unit in the smaller ring modulo 2^(64 - t): the wrap of the two
shares vanishes there, so there is no probability of a large error. A value comes back to 64 bits when it is opened under a
mask whose wrap the dealer knows ("lift"). These constants say which shift happens where; `Layer` holds what depends on the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

RESIDUAL = 29  # fraction bits of the residual stream, modulo 2^64
NORM_RING = 48  # ring of the inverse root-mean-square and of x times it
INVERSE_OUT, INVERSE = 40, 24  # fraction bits before and after the shift
HIDDEN = 14  # fraction bits of a normalised activation
HIDDEN_LIFT = 23  # bits opened to lift it: |h| < 2^7
ROPE = 13
HEAD = 12  # fraction bits of queries and keys
VALUE = 14  # fraction bits of values
SCORE = 2 * HEAD  # fraction bits of a query-key product, before division by sqrt(head_dim)
BUCKET_FRACTION, BUCKET_BITS, BUCKET_SEGMENT = 6, 14, 7  # scores for the maximum: buckets of 2.0 in a ring of 256.0
BUCKETS = 1 << (BUCKET_BITS - BUCKET_SEGMENT)
BUCKET_WIDTH, LOWEST_BUCKET, THRESHOLDS = 2, -16, 48  # maxima from -32 to 66 are told apart
WEIGHT = 20  # fraction bits of exp(score - bucketed maximum), at least exp(-4) for the largest score, when it multiplies a value
SUM = 24  # fraction bits of its sum
RECIPROCAL_OUT, RECIPROCAL, RECIPROCAL_RING = 34, 22, 52
NUMERATOR = 19
LIFT = 32  # bits opened to lift numerators and products
OUTPUT_LIFT = 24  # attention's output: |o| < 2^7
GATE_LIFT, GATE = 24, 14  # silu's output
UP_RING, UP = 48, 14


# Where a bit more is worth most was measured: docs/decisions/mpc-fraction-bits.md.
WEIGHT_BITS = {
    "query_key": 14,
    "value": 16,
    "out": 14,
    "gate_up": 16,
    "down": 13,
    "embedding": RESIDUAL,
    "head": 15,
}  # fraction bits of a product's weights, after each row's factor
OUT_IN = RESIDUAL - WEIGHT_BITS["out"]  # so that the product lands on the residual scale
DOWN_IN = RESIDUAL - WEIGHT_BITS["down"]


@dataclass(frozen=True)
class Layer:
    """Fraction bits of x where it is squared: they depend on how large the layer's residual grows."""

    norm1: int
    norm2: int
