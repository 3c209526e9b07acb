"""What a pass consumes: its rows, their caches, and the correlated randomness of one layer for all of them.

Masks come from a party's own seed, the rest from the dealer's message; both are used up by one pass. The cached keys and values are the
exception: they were opened once under masks that belong to (session, position).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc_inference import prg
from mpc_inference.llama.arithmetic import low
from mpc_inference.llama.layout import Layout, view
from mpc_inference.native.core import U8, U64

Products = Mapping[tuple[int, str], U64]


@dataclass
class Cache:
    """One session's keys and values at one party: opened (masked) words and own shares, (layers, capacity, kv_width)."""

    layers: int
    width: int
    arrays: dict[str, U64] = field(default_factory=dict)

    def room(self, own: int) -> None:
        """Make room for `own` positions."""
        for name in ("k_open", "k_share", "v_open", "v_share"):
            old = self.arrays.get(name)
            if old is None or old.shape[1] < own:
                grown = np.zeros((self.layers, -(-own // 64) * 64, self.width), np.uint64)
                if old is not None:
                    grown[:, : old.shape[1]] = old
                self.arrays[name] = grown


@dataclass
class Row:
    """One token: its session's cache and seed, its position, and the dealer's message for it (used up by one pass).

    products: what this party computed ahead from its own masks, by layer and product (private weights only).
    """

    cache: Cache
    seed: bytes
    position: int
    prefix: int
    message: U8
    products: Products = field(default_factory=dict)

    @property
    def own(self) -> int:
        """Shared positions that this token sees, itself among them."""
        return self.position - self.prefix + 1


class Supply:
    """The items of one layer for all rows of a pass."""

    def __init__(
        self, party: int, plans: Sequence[Layout], streams: Sequence[U8], messages: Sequence[U8], ahead: Sequence[Mapping[str, U64]]
    ):
        self._plans, self._party, self._streams, self._messages, self._ahead = plans, party, streams, messages, ahead
        self._sections: dict[str, U8] = {}

    @staticmethod
    def of_layer(party: int, rows: Sequence[Row], plans: Sequence[Layout], layer: int, private: bool = False) -> Supply:
        """From the rows' seeds and messages, in which every layer has the same size."""
        return Supply(
            party,
            plans,
            [prg.stream(r.seed, r.position, layer, p.stream_bytes(party)) for r, p in zip(rows, plans, strict=True)],
            [r.message[layer * p.message_bytes(party) : (layer + 1) * p.message_bytes(party)] for r, p in zip(rows, plans, strict=True)],
            [{name: words for (at, name), words in r.products.items() if at == layer} for r in rows] if private else (),
        )

    def mask(self, row: int, name: str) -> NDArray[Any]:
        """One row's part of a mask, as it lies in its stream."""
        return view(self._streams[row], self._plans[row].masks[name])

    def shared(self, row: int, name: str) -> NDArray[Any]:
        """One row's share of what the dealer shared."""
        return view(self._section(row, "shared"), self._plans[row].shared[name])

    def key(self, row: int, name: str) -> NDArray[Any]:
        """One row's keys."""
        return view(self._messages[row], self._plans[row].keys[name])

    def _all(self, kind: str, name: str) -> NDArray[Any]:
        """(rows, ...) an item whose size and place are the same in every row."""
        items = getattr(self._plans[0], kind)
        section = self._sections.get(kind)
        if section is None:
            end = _same_until(self._plans, kind)
            parts = [self._section(i, kind)[:end] for i in range(len(self._plans))]
            section = self._sections[kind] = parts[0][None] if len(parts) == 1 else np.stack(parts)
        item = items[name]
        out: NDArray[Any] = section[:, item.start : item.stop].view(item.dtype).reshape(len(self._plans), *item.shape)
        return out

    def _section(self, row: int, kind: str) -> U8:
        plan = self._plans[row]
        if kind == "masks":
            return self._streams[row]
        if kind == "keys":
            return self._messages[row]
        return self._streams[row][plan.mask_bytes :] if self._party == 0 else self._messages[row][plan.key_bytes :]

    def masks(self, name: str, bits: int = 64) -> U64:
        """(rows, ...) masks as words below 2^bits."""
        every = self._all("masks", name).astype(np.uint64, copy=False)
        return every if bits == 64 else every & low(bits)

    def shareds(self, name: str, axis: int = 0) -> U64:
        """(rows, ...) shares of what the dealer shared; axis 1: (2, rows, ...)."""
        every = self._all("shared", name)
        return every if axis == 0 else every.swapaxes(0, 1)

    def keys(self, name: str) -> U8:
        """All rows' keys, one after the other."""
        every = self._all("keys", name)
        return np.ascontiguousarray(every.reshape(-1, every.shape[-1]))

    def roots(self, name: str) -> U8:
        """All rows' tree roots."""
        every = self._all("masks", name)
        return np.ascontiguousarray(every.reshape(-1, every.shape[-1]))

    def ahead(self, name: str) -> U64:
        """(rows, ...) what this party computed ahead."""
        return np.stack([one[name] for one in self._ahead])


def _same_until(plans: Sequence[Layout], kind: str) -> int:
    """The byte up to which a section is laid out alike in all rows."""
    end = 0
    for name, item in getattr(plans[0], kind).items():
        if any(getattr(p, kind)[name] != item for p in plans[1:]):
            break
        end = item.stop
    return end
