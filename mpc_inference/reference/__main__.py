"""One party of the CrypTen reference: `python -m mpc_inference.reference --config FILE --party 0|1 --tokens 1,2,3`.

Party 0 embeds and shares the tokens and prints one JSON object: the logits, and the two shares of the embedding, which a test compares
with the engine's words. A program for tests: it opens what it computes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from mpc_inference import certificates, transport
from mpc_inference.config import Deployment, read_config
from mpc_inference.llama.shape import read_shape
from mpc_inference.llama.weights import read_weights
from mpc_inference.reference import llama, shares
from mpc_inference.reference.communicator import connect


def meet(deployment: Deployment, party: int) -> transport.Link:
    """The link between the two parties."""
    place = deployment.parties[0]
    if party == 1:
        return transport.connect_patiently(place.host, place.port, deployment.certificates, "party1", "party0", deployment.deadline_s)
    server = transport.listen(place.host, place.port)
    try:
        server.settimeout(deployment.deadline_s)
        raw, _ = server.accept()
        return transport.accept(raw, certificates.context(deployment.certificates, "party0", server=True), deployment.deadline_s)[0]
    finally:
        server.close()


def main() -> int:
    """Run one party; answers the exit status."""
    parser = argparse.ArgumentParser(prog="mpc_inference.reference", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--party", type=int, choices=(0, 1), required=True)
    parser.add_argument("--tokens", required=True, help="token ids, comma separated (only party 0 uses them)")
    given = parser.parse_args()
    deployment = read_config(given.config)
    tokens = [int(t) for t in given.tokens.split(",")]
    shape, weights = read_shape(deployment.model), read_weights(deployment.model)
    torch.set_num_threads(1)
    library = connect(meet(deployment, given.party), given.party)
    with library.no_grad():
        embedded = torch.from_numpy(weights["model.embed_tokens.weight"][tokens]) if given.party == 0 else None
        x = library.cryptensor(embedded if embedded is not None else torch.zeros(len(tokens), shape.hidden), src=0)
        words, bits = shares.from_crypten(x)
        both = library.communicator.get().all_gather(torch.from_numpy(words.view(np.int64)))
        back = shares.to_crypten(words, bits)
        logits = shares.decode(llama.forward(library, shape, weights, back))
    if given.party == 0:
        stats = library.communicator.get().get_communication_stats()
        found = {
            "fraction_bits": bits,
            "shares": [one.tolist() for one in both],
            "logits": logits.tolist(),
            "rounds": stats["rounds"],
            "bytes": stats["bytes"],
        }
        sys.stdout.write(json.dumps(found))
    library.uninit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
