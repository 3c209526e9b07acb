"""CrypTen's communicator for two parties over an authenticated link: the mutual TLS, the deadlines and the counters of transport.py.

A CrypTen program runs over it unchanged: `connect` in the place of `crypten.init()`. Tensors travel as raw words, objects as JSON; nothing
is unpickled. A batched reduction is one round. It does NOT replace CrypTen's provider: with the default one (TFP) party 0 makes the
triples, so party 0 learns everything; nor its generators, which keep 32 bits of a seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch.distributed import ReduceOp

from mpc_inference import transport
from mpc_inference.errors import FrameInvalid
from mpc_inference.reference.library import crypten

_Tensor = torch.Tensor
_COMBINE: dict[Any, Callable[[_Tensor, _Tensor], _Tensor]] = {
    ReduceOp.SUM: torch.add,
    ReduceOp.BXOR: torch.bitwise_xor,
    ReduceOp.PRODUCT: torch.mul,
    ReduceOp.MAX: torch.maximum,
    ReduceOp.MIN: torch.minimum,
}


class _Done:
    """What an operation that has already happened answers to `wait`."""

    def wait(self) -> None:
        """Nothing is left to do."""


def _words(tensor: _Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().tobytes()


def _tensor(data: bytes | bytearray, like: _Tensor) -> _Tensor:
    if len(data) != like.numel() * like.element_size():
        raise FrameInvalid("the other party sent a tensor of another size")
    return torch.frombuffer(bytearray(data), dtype=like.dtype).reshape(like.shape) if like.numel() else torch.empty_like(like)


class LinkCommunicator:
    """The methods of `crypten.communicator.Communicator` that two parties need."""

    instance: ClassVar[LinkCommunicator | None] = None
    _waiting: ClassVar[tuple[transport.Link, int] | None] = None

    def __init__(self, link: transport.Link, rank: int) -> None:
        self.link, self.rank, self.world_size, self.rounds = link, rank, 2, 0
        self._name = f"party{rank}"

    @classmethod
    def is_initialized(cls) -> bool:
        return cls.instance is not None

    @classmethod
    def get(cls) -> LinkCommunicator:
        assert cls.instance is not None
        return cls.instance

    @classmethod
    def initialize(cls, rank: int, world_size: int, init_ttp: bool = False) -> None:
        """Called by crypten.init(), with a rank that `connect` knows better. Raises ValueError for the provider TTP."""
        if init_ttp or cls._waiting is None:
            raise ValueError("two parties only: connect first, and leave the provider at its default")
        cls.instance, cls._waiting = cls(*cls._waiting), None

    @classmethod
    def shutdown(cls) -> None:
        """End the link."""
        if cls.instance is not None:
            cls.instance.link.close()
        cls.instance = None

    def _swap(self, tensor: _Tensor) -> _Tensor:
        self.rounds += 1
        return _tensor(self.link.exchange(_words(tensor)), tensor)

    def _send(self, tensor: _Tensor) -> None:
        self.rounds += 1
        self.link.send(transport.EXCHANGE, _words(tensor))

    def _receive(self, like: _Tensor) -> _Tensor:
        self.rounds += 1
        return _tensor(self.link.receive(transport.EXCHANGE), like)

    def send(self, tensor: _Tensor, dst: int) -> None:
        self._send(tensor.data)

    def recv(self, tensor: _Tensor, src: int | None = None) -> _Tensor:
        return self._receive(tensor.data)

    def isend(self, tensor: _Tensor, dst: int) -> _Done:
        self._send(tensor.data)
        return _Done()

    def irecv(self, tensor: _Tensor, src: int | None = None) -> _Done:
        tensor.data.copy_(self._receive(tensor.data))
        return _Done()

    def scatter(self, scatter_list: Sequence[Any], src: int, size: Any = None, device: Any = None) -> _Tensor:
        if src == self.rank:
            self._send(scatter_list[1 - self.rank].data)
            return scatter_list[self.rank].data  # type: ignore[no-any-return]
        return self._receive(torch.empty(size if size is not None else scatter_list[self.rank].size(), dtype=torch.long))

    def all_reduce(self, input: Any, op: Any = ReduceOp.SUM, batched: bool = False) -> Any:  # noqa: A002 - CrypTen's name
        tensors = list(input) if batched else [input]
        mine = [t.clone().data for t in tensors]
        flat = torch.cat([t.reshape(-1) for t in mine])
        both = _COMBINE[op](flat, self._swap(flat))
        out = [part.reshape(t.shape) for part, t in zip(torch.split(both, [t.numel() for t in mine]), mine, strict=True)]
        return out if batched else out[0]

    def reduce(self, input: Any, dst: int, op: Any = ReduceOp.SUM, batched: bool = False) -> Any:  # noqa: A002
        reduced = self.all_reduce(input, op, batched)
        return reduced if dst == self.rank else None

    def gather(self, tensor: Any, dst: int) -> list[Any]:
        if dst != self.rank:
            self._send(tensor.data)
            return [None]
        theirs = self._receive(tensor.data)
        return [tensor.data, theirs] if self.rank == 0 else [theirs, tensor.data]

    def all_gather(self, tensor: Any) -> list[_Tensor]:
        theirs = self._swap(tensor.data)
        return [tensor.data, theirs] if self.rank == 0 else [theirs, tensor.data]

    def broadcast(self, input: Any, src: int, group: Any = None, batched: bool = False) -> Any:  # noqa: A002
        for tensor in input if batched else [input]:
            if src == self.rank:
                self._send(tensor.data)
            else:
                tensor.data.copy_(self._receive(tensor.data))
        return input

    def barrier(self) -> None:
        self._swap(torch.zeros(1, dtype=torch.long))

    def send_obj(self, obj: Any, dst: int, group: Any = None) -> None:
        """Numbers, texts, lists and sizes. Raises TypeError for anything else."""
        self.link.send_control({"object": obj})

    def recv_obj(self, src: int, group: Any = None) -> Any:
        got = self.link.receive_control().get("object")
        return torch.Size(got) if isinstance(got, list) and all(isinstance(n, int) for n in got) else got

    def broadcast_obj(self, obj: Any, src: int, group: Any = None) -> Any:
        if src != self.rank:
            return self.recv_obj(src)
        self.send_obj(json.loads(json.dumps(obj)), 1 - src)
        return obj

    def get_world_size(self) -> int:
        return self.world_size

    def get_rank(self) -> int:
        return self.rank

    def set_name(self, name: str) -> None:
        self._name = name

    def get_name(self) -> str:
        return self._name

    def get_distributed_backend(self) -> str:
        return "llmos link"

    def reset_communication_stats(self) -> None:
        self.rounds = 0

    def get_communication_stats(self) -> dict[str, float]:
        traffic = self.link.traffic
        return {"rounds": self.rounds, "bytes": traffic.sent_bytes + traffic.received_bytes, "time": 0.0}


def connect(link: transport.Link, rank: int) -> Any:
    """Initialise CrypTen over `link` (party 0 or 1) and answer the library. `crypten.uninit()` closes the link."""
    library = crypten()
    library.communicator.DistributedCommunicator = LinkCommunicator
    LinkCommunicator._waiting = (link, rank)
    library.init()
    return library
