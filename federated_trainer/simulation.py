"""The institutions of a round inside this process: `Clients` of `round.py` without Flower, for tests and measurements.

Training, the ledger and the secure sum are the ones of a deployment; only the wire is missing. Whoever runs this sees all data.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from federated_trainer.codec import codec_of
from federated_trainer.contribution import Contribute
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import TrainerError
from federated_trainer.roster import public_of, read_private_key
from federated_trainer.round import RoundUpdate
from federated_trainer.secure_sum.in_process import secure_sum
from federated_trainer.settings import InstitutionSettings
from federated_trainer.task import RoundTask


class InProcessClients:
    """institutions: settings by client number. `random_of` gives each client's randomness (tests fix it)."""

    def __init__(
        self,
        institutions: Mapping[int, InstitutionSettings],
        contribute: Contribute,
        random_of: Callable[[int], SecureRandom] = lambda client: SecureRandom(),
    ) -> None:
        self._institutions, self._contribute, self._random_of = dict(institutions), contribute, random_of

    def sample(self, minimum: int) -> tuple[int, ...]:
        return tuple(sorted(self._institutions))

    def train(self, task: RoundTask, chosen: tuple[int, ...]) -> RoundUpdate:
        """Raises TooFewClients and the other errors of `secure_sum`."""
        vectors, epsilons, refusals = {}, {}, {}
        codec = codec_of(task, len(chosen))
        for client in chosen:
            own = self._institutions[client]
            try:
                random = self._random_of(client)
                contribution = self._contribute(task, own, random)
                vectors[client] = codec.encode(contribution, random)
            except TrainerError as error:
                refusals[own.name] = f"{type(error).__name__}: {error}"
                continue
            if contribution.epsilon is not None:
                epsilons[own.name] = contribution.epsilon
        identities = {client: read_private_key(self._institutions[client].identity_key) for client in chosen}
        roster = {client: public_of(private) for client, private in identities.items()}
        gone = {"share": [client for client in chosen if client not in vectors]}
        parameters = task.parameters(secrets.token_bytes(32), chosen)
        outcome = secure_sum(parameters, vectors.__getitem__, identities, roster, gone)
        decoded = codec.decode(outcome.total, len(outcome.survivors))
        return RoundUpdate(decoded.mean, len(outcome.survivors), decoded.mean_loss, epsilons, refusals, decoded.next_clip)
