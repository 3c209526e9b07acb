"""What each process loads for the deployment's mode: the one place that knows all modes.

`public` has open weights in one file; `owner` and `shared` have a manifest with each role's files beside it (llama/masked.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from mpc_inference import onehot
from mpc_inference.config import Deployment
from mpc_inference.errors import HandshakeRefused
from mpc_inference.ledger import Ledger
from mpc_inference.llama import artifact, masked
from mpc_inference.llama.arithmetic import Exchange
from mpc_inference.llama.dealing import Recipe
from mpc_inference.llama.engine import Engine, PrivateEngine, PublicEngine, tables_digest
from mpc_inference.native.core import Core

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PartyRole:
    """A party's prepared model (see `party.Role`)."""

    digest: str
    tables: str
    prefix_tokens: int
    row_bytes: int
    make: Callable[[Exchange, Ledger], Engine]

    def engine(self, exchange: Exchange, ledger: Ledger) -> Engine:
        return self.make(exchange, ledger)


def load_party(deployment: Deployment, party: int, core: Core, progress: Progress) -> PartyRole:
    """A party's part. Raises ModelUnsupported, HandshakeRefused when it is not the version that the configuration names."""
    if deployment.mode == "public":
        model = artifact.load(deployment.prepared, progress)
        _same(deployment, model.digest)
        return PartyRole(
            model.digest,
            tables_digest(model.shape),
            len(model.prefix_tokens),
            model.shape.hidden * 8,
            lambda exchange, ledger: PublicEngine(core, party, model, exchange, ledger),
        )
    _same(deployment, masked.read_card(deployment.prepared).digest)
    private = masked.load_party(deployment.prepared, party, core, progress)
    card, reveal = private.card, deployment.reveal == "logits"
    return PartyRole(
        card.digest,
        hashlib.sha256(f"{tables_digest(card.shape)} {card.mode} {deployment.reveal}".encode()).hexdigest(),
        len(card.prefix_tokens),
        onehot.key_bytes(card.shape.vocab),
        lambda exchange, ledger: PrivateEngine(core, party, private, exchange, ledger, reveal),
    )


def load_dealer(deployment: Deployment, core: Core, progress: Progress) -> Recipe:
    """The dealer's part. Raises ModelUnsupported, HandshakeRefused."""
    if deployment.mode == "public":
        model = artifact.load(deployment.prepared, progress)
        _same(deployment, model.digest)
        return Recipe.public(core, model)
    _same(deployment, masked.read_card(deployment.prepared).digest)
    return Recipe.private(core, masked.load_dealer(deployment.prepared, progress))


def _same(deployment: Deployment, digest: str) -> None:
    if digest != deployment.digest:
        raise HandshakeRefused(
            f"{deployment.prepared} is not the file that the configuration names (digest): copy it again from where `init` ran"
        )
