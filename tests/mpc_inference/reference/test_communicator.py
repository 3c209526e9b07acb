"""Every collective that CrypTen calls, over two ends of one real link."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.distributed import ReduceOp

from mpc_inference import certificates, transport
from mpc_inference.config import read_config
from mpc_inference.errors import FrameInvalid
from mpc_inference.reference.communicator import LinkCommunicator

T = torch.tensor


@pytest.fixture
def both(tiny: Path) -> tuple[LinkCommunicator, LinkCommunicator]:
    certs = read_config(tiny).certificates
    server = transport.listen("127.0.0.1", 0)

    def serve() -> transport.Link:
        raw, _ = server.accept()
        return transport.accept(raw, certificates.context(certs, "party0", server=True), 5.0)[0]

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(serve)
        other = transport.connect("127.0.0.1", server.getsockname()[1], certs, "party1", "party0", 5.0)
        link = waiting.result(5)
    server.close()
    return LinkCommunicator(link, 0), LinkCommunicator(other, 1)


def run(both: tuple[LinkCommunicator, LinkCommunicator], work: Callable[[LinkCommunicator], object]) -> list[object]:
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(work, both))


@pytest.mark.parametrize(
    ("op", "expected"), [(ReduceOp.SUM, [5, 9]), (ReduceOp.BXOR, [5, 1]), (ReduceOp.PRODUCT, [4, 20]), (ReduceOp.MAX, [4, 5])]
)
def test_reductions(both: tuple[LinkCommunicator, LinkCommunicator], op: object, expected: list[int]) -> None:
    mine = (T([1, 4]), T([4, 5]))
    assert [r.tolist() for r in run(both, lambda c: c.all_reduce(mine[c.rank], op))] == [expected, expected]  # type: ignore[attr-defined]
    first, second = run(both, lambda c: c.reduce(mine[c.rank], 1, op))
    assert first is None
    assert second.tolist() == expected  # type: ignore[attr-defined]


def test_a_batched_reduction_is_one_round(both: tuple[LinkCommunicator, LinkCommunicator]) -> None:
    got = run(both, lambda c: [t.tolist() for t in c.all_reduce([T([[c.rank]]), T([1, 2])], batched=True)])
    assert got == [[[[1]], [2, 4]]] * 2
    assert [c.rounds for c in both] == [1, 1]


def test_gathering_and_spreading(both: tuple[LinkCommunicator, LinkCommunicator]) -> None:
    assert [[t.tolist() for t in r] for r in run(both, lambda c: c.all_gather(T([c.rank])))] == [[[0], [1]]] * 2  # type: ignore[attr-defined]
    gathered, nothing = run(both, lambda c: c.gather(T([c.rank]), 0))
    assert [t.tolist() for t in gathered] == [[0], [1]]  # type: ignore[attr-defined]
    assert nothing == [None]
    assert [t.tolist() for t in run(both, lambda c: c.scatter([T([7]), T([8])], 0, size=(1,)))] == [[7], [8]]  # type: ignore[attr-defined]
    assert [t.tolist() for t in run(both, lambda c: c.broadcast(T([c.rank + 5]), 1))] == [[6], [6]]  # type: ignore[attr-defined]
    run(both, lambda c: c.barrier())


def test_objects_are_json_and_nothing_else(both: tuple[LinkCommunicator, LinkCommunicator]) -> None:
    assert run(both, lambda c: c.broadcast_obj(torch.Size([2, 3]) if c.rank == 0 else None, 0)) == [torch.Size([2, 3])] * 2
    with pytest.raises(TypeError):
        both[0].send_obj(object(), 1)


def test_a_tensor_of_another_size_is_refused(both: tuple[LinkCommunicator, LinkCommunicator]) -> None:
    both[0].send(T([1, 2, 3]), 1)
    with pytest.raises(FrameInvalid, match="size"):
        both[1].recv(T([0]))
