"""One party's openings and local steps on shares: what every layer is written in.

A share is a word modulo 2^64 or of a smaller ring; an opened word is always masked by a word that neither party knows. Nothing here
draws randomness. It does NOT check that the other party sent the right words.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mpc_inference import lift
from mpc_inference.ledger import Ledger
from mpc_inference.native.core import U64, Core


class Exchange(Protocol):
    """Sends this party's bytes, answers the other's (as many)."""

    def __call__(self, mine: bytes) -> bytes: ...


def low(bits: int) -> np.uint64:
    """The mask of the lowest bits."""
    return np.uint64((1 << bits) - 1)


class Arithmetic:
    """Openings over one link."""

    def __init__(self, core: Core, party: int, exchange: Exchange, ledger: Ledger) -> None:
        self.core, self.party, self.exchange, self.ledger = core, party, exchange, ledger
        self.first = party == 0

    def open(self, *values: tuple[str, NDArray[Any], int]) -> list[U64]:
        """Open words (already masked shares) of the named bits in one round."""
        mine, sent = [], []
        for name, word, bits in values:
            dtype = np.uint16 if bits <= 16 else np.uint32 if bits <= 32 else np.uint64
            flat = (word & word.dtype.type(low(min(bits, word.dtype.itemsize * 8)))).astype(dtype)
            mine.append(flat)
            sent.append(flat.tobytes())
            self.ledger.record(name, flat.size, bits)
        answer = self.exchange(b"".join(sent))
        self.ledger.rounds += 1
        out, at = [], 0
        for (_, word, bits), flat in zip(values, mine, strict=True):
            theirs = np.frombuffer(answer, flat.dtype, flat.size, at).reshape(word.shape)
            at += flat.nbytes
            out.append((flat.astype(np.uint64) + theirs) & low(bits))
        return out

    def lift(self, name: str, x: U64, mask: U64, z: U64, bits: int) -> U64:
        """Open a value of a small ring and take it back modulo 2^64 (see lift.py)."""
        (opened,) = self.open((name, self.raised(x, bits) + mask, bits))
        return lift.share(self.party, opened, mask, z, bits)

    def raised(self, x: U64, bits: int) -> U64:
        """A value that is about to be lifted, made non-negative."""
        return x + np.uint64(lift.offset(bits)) if self.first else x

    def shift(self, x: U64, bits: int) -> U64:
        """Local right shift: exact to a unit in the ring that is `bits` smaller; the added one is the mean of what both round away."""
        down = x >> np.uint64(bits)
        return down + np.uint64(1) if self.first else down

    def lifted_product(self, x_open: U64, y: U64, y_open: U64, mask: U64, z: U64, cross: U64, bits: int) -> U64:
        """x y for x lifted from its opening and y opened under its own mask; cross: shares of rho y_mask for both top bits."""
        rho = lift.share_of_rho(x_open, mask, z, bits)
        chosen: U64 = np.where(x_open >> np.uint64(bits - 1), cross[1], cross[0])
        return (x_open - np.uint64(lift.offset(bits))) * y - y_open * rho + chosen
