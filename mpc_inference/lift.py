"""A value in a small ring, opened under a mask, comes back as a share modulo 2^64: exactly, in the round that opens it.

x is shared modulo 2^k with |x| < 2^(k-2). The parties open c = x + 2^(k-2) + r modulo 2^k. Whether that sum wrapped follows from
the top bits: it did exactly when r's top bit is set and c's is not (Escudero, Ghosh, Keller, Rachuri, Scholl, "Improved
Primitives for MPC over Mixed Arithmetic-Binary Circuits", CRYPTO 2020, section 5). r is r0 + r1 - 2^k q with both r_i below
2^k drawn from the parties' own streams; the dealer shares z1 = q and z0 = q + top(r), and the public top bit chooses.
It does NOT detect |x| >= 2^(k-2): such a value comes back wrong by 2^k.
"""

from __future__ import annotations

import numpy as np

from mpc_inference.native.core import U64


def offset(bits: int) -> int:
    """What is added before opening, so that the value is not negative."""
    return 1 << (bits - 2)


def dealer(mask0: U64, mask1: U64, bits: int) -> tuple[U64, U64]:
    """From both masks (..., n) below 2^bits: choices z (2, ..., n), and rho (2, ..., n) = r0 + r1 - 2^bits z."""
    total = mask0 + mask1
    wrapped, top = total >> np.uint64(bits), (total >> np.uint64(bits - 1)) & np.uint64(1)
    z = np.stack([wrapped + top, wrapped])
    return z, total - (z << np.uint64(bits))


def share_of_rho(opened: U64, mask: U64, z: U64, bits: int) -> U64:
    """This party's share of what `opened` exceeds x + offset by; z: own shares (2, ..., n)."""
    chosen: U64 = np.where(opened >> np.uint64(bits - 1), z[1], z[0])
    return mask - (chosen << np.uint64(bits))


def share(party: int, opened: U64, mask: U64, z: U64, bits: int) -> U64:
    """This party's share of x modulo 2^64."""
    out = -share_of_rho(opened, mask, z, bits)
    return out + (opened - np.uint64(offset(bits))) if party == 0 else out
