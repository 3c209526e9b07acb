"""Typed calls into the C core.

Arrays are C-contiguous NumPy arrays of unsigned words; every function works modulo 2^64 and draws no randomness.
The C code checks nothing: these wrappers are the place where shapes are right.  It does NOT hide timing.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpc_inference.native.build import build

U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
F64: TypeAlias = NDArray[np.float64]
BLOCK = 16  # bytes of a seed, a correction word or a payload correction

# Nothing up the sleeve: the first 64 bytes of the fractional part of pi.
FIXED_KEYS = bytes.fromhex(
    "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89452821e638d01377be5466cf34e90c6cc0ac29b7c97c50dd3f84d5b5b5470917"
)


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class Core:
    """The loaded library. One instance a process (see `core`)."""

    def __init__(self, path: Path) -> None:
        self._lib = ctypes.CDLL(str(path))
        for name in (
            "core_init",
            "core_mmo",
            "core_gemm16",
            "core_gemm64",
            "core_dpf_gen",
            "core_silu",
            "core_exp",
            "core_zero",
            "core_curve",
            "core_buckets",
            "core_scores",
            "core_values",
            "core_gemm_masked",
            "core_less",
        ):
            getattr(self._lib, name).restype = None
        self._lib.core_init(FIXED_KEYS)

    @property
    def has_aesni(self) -> bool:
        """Whether the library uses the processor's AES instructions."""
        return bool(self._lib.core_has_aesni())

    def mmo(self, key: int, blocks: U8) -> U8:
        """H_key(s) = AES_key(s) xor s for each 16-byte row (n, 16)."""
        out = np.empty_like(blocks)
        self._lib.core_mmo(key, _pointer(blocks), _pointer(out), len(blocks))
        return out

    def gemm(self, weight: NDArray[Any], x: U64) -> U64:
        """x (m, cols) times weight (rows, cols) transposed, modulo 2^64; weight is int16 or int64."""
        m, (rows, cols) = len(x), weight.shape
        out = np.empty((m, rows), np.uint64)
        call = self._lib.core_gemm16 if weight.dtype == np.int16 else self._lib.core_gemm64
        call(_pointer(weight), _pointer(x), _pointer(out), rows, cols, m)
        return out

    def dpf_gen(self, depth: int, levels: int, word: int, alpha: U64, roots0: U8, roots1: U8, betas: U8, wide: bool = False) -> U8:
        """Keys for n point functions: (n, (depth + payloads) * 16) bytes, the same for both parties.

        alpha: (n,) paths; levels: bit l set = payload at level l; word: 4 or 8 bytes; betas: (n, payloads, 16).
        wide: leaves have a second payload block.
        """
        n, payloads = len(alpha), int(levels).bit_count() + wide
        out = np.empty((n, (depth + payloads) * BLOCK), np.uint8)
        self._lib.core_dpf_gen(
            n,
            depth,
            ctypes.c_uint64(levels),
            word,
            int(wide),
            _pointer(alpha),
            _pointer(roots0),
            _pointer(roots1),
            _pointer(betas),
            _pointer(out),
        )
        return out

    def silu(self, party: int, bits: int, segment: int, coarse: int, half: int, up: int, roots: U8, keys: U8, c: U32, table: U32) -> U32:
        """Shares of silu(x), x = (c - r) mod 2^bits (see core.c)."""
        out = np.empty(c.size, np.uint32)
        self._lib.core_silu(
            party, c.size, bits, segment, coarse, half, up, _pointer(roots), _pointer(keys), _pointer(c), _pointer(table), _pointer(out)
        )
        return out

    def exp(self, party: int, bits: int, segment: int, roots: U8, keys: U8, c: U32, high: F64, low: F64) -> U64:
        """Shares of exp(x), x = (c - r) mod 2^bits (see core.c)."""
        out = np.empty(c.size, np.uint64)
        self._lib.core_exp(
            party,
            c.size,
            bits,
            segment,
            high.size,
            _pointer(roots),
            _pointer(keys),
            _pointer(c),
            _pointer(high),
            _pointer(low),
            _pointer(out),
        )
        return out

    def zero(self, party: int, depth: int, roots: U8, keys: U8, c: U32) -> U64:
        """Shares of [c = r]."""
        out = np.empty(c.size, np.uint64)
        self._lib.core_zero(party, c.size, depth, _pointer(roots), _pointer(keys), _pointer(c), _pointer(out))
        return out

    def curve(
        self, party: int, bits: int, leaf: int, first: int, kind: int, unit: float, shift: float, scale: float, roots: U8, keys: U8, c: U64
    ) -> U64:
        """Shares of 1/(x unit) (kind 0) or 1/sqrt(x unit + shift) (kind 1), x = (c - r) mod 2^bits."""
        out = np.empty(c.size, np.uint64)
        d = ctypes.c_double
        self._lib.core_curve(
            party, c.size, bits, leaf, first, kind, d(unit), d(shift), d(scale), _pointer(roots), _pointer(keys), _pointer(c), _pointer(out)
        )
        return out

    def buckets(self, heads: int, keys: int, count: int, segment: int, base: int, thresholds: int, c: U32, onehot: U16) -> U32:
        """Shares (modulo 2^16) of how many of a head's scores reach each threshold: (heads, thresholds)."""
        out = np.empty((heads, thresholds), np.uint32)
        self._lib.core_buckets(heads, keys, count, segment, base, thresholds, _pointer(c), _pointer(onehot), _pointer(out))
        return out

    def scores(self, group: int, dim: int, q: U64, q_open: U64, q_mask: U64, prefix_k: U64, k_share: U64, k_open: U64, product: U64) -> U64:
        """One token's scores (heads, prefix + own)."""
        heads, prefix, own = q.size // dim, len(prefix_k), len(k_share)
        out = np.empty((heads, prefix + own), np.uint64)
        self._lib.core_scores(
            heads, group, dim, prefix, own, *(_pointer(a) for a in (q, q_open, q_mask, prefix_k, k_share, k_open, product, out))
        )
        return out

    def values(self, group: int, dim: int, e: U64, e_open: U64, e_mask: U64, prefix_v: U64, v_share: U64, v_open: U64, product: U64) -> U64:
        """One token's weighted values (heads, dim)."""
        heads, prefix, own = len(e), len(prefix_v), len(v_share)
        out = np.empty((heads, dim), np.uint64)
        self._lib.core_values(
            heads, group, dim, prefix, own, *(_pointer(a) for a in (e, e_open, e_mask, prefix_v, v_share, v_open, product, out))
        )
        return out

    def gemm_masked(self, seed: bytes, position: int, layer: int, opened: U64 | None, x: U64, rows: int) -> U64:
        """x (m, cols) times (opened + mask) (rows, cols) transposed; the mask is prg.stream(seed, position, layer), made on the way."""
        m, cols = x.shape
        out = np.empty((m, rows), np.uint64)
        where = None if opened is None else _pointer(opened)
        self._lib.core_gemm_masked(seed, position, layer, where, _pointer(x), _pointer(out), rows, cols, m)
        return out

    def onehot(self, party: int, depth: int, count: int, root: U8, key: U8) -> U64:
        """Shares (count,) of a vector that is 1 at one secret place; root (16,), key ((depth + 1) * 16,). Raises MemoryError."""
        out = np.empty(count, np.uint64)
        if self._lib.core_onehot(party, depth, count, _pointer(root), _pointer(key), _pointer(out)):
            raise MemoryError("no room for a one-hot vector")
        return out

    def less(self, party: int, depth: int, roots: U8, keys: U8, words: U32, c: U32) -> U32:
        """Shares (n, 2) of the two payload words where c < alpha, else of zeros; keys (n, depth * 16), words (n, depth * 2)."""
        out = np.empty((c.size, 2), np.uint32)
        self._lib.core_less(party, c.size, depth, _pointer(roots), _pointer(keys), _pointer(words), _pointer(c), _pointer(out))
        return out


@lru_cache(maxsize=1)
def core() -> Core:
    """The machine's compiled core, loaded once."""
    return Core(build())
