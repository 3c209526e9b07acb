"""The trainer's messages as Flower records, there and back.

Flower's records hold numbers, strings, bytes and lists of them; arrays go as ArrayRecords. Decoding refuses what does not
fit (BadUpdate): a record from another machine is not trusted to have any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from federated_trainer.errors import BadUpdate
from federated_trainer.secure_sum.messages import Advert, Confirmation, Envelopes, Masked, Shares, UnmaskRequest
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.task import RoundTask, TaskSettings

Fields = Mapping[str, Any]


def record(fields: Fields, **arrays: npt.NDArray[Any]) -> RecordDict:
    """Fields under "fields", each array under its own name."""
    records: dict[str, Any] = {"fields": ConfigRecord(dict(fields))}
    records |= {name: ArrayRecord([array]) for name, array in arrays.items()}
    return RecordDict(records)


def fields_of(content: RecordDict) -> dict[str, Any]:
    try:
        return dict(content.config_records["fields"])
    except KeyError as error:
        raise BadUpdate("A message has no fields.") from error


def array_of(content: RecordDict, name: str) -> npt.NDArray[Any]:
    """Raises BadUpdate where there is not exactly one array."""
    try:
        (array,) = content.array_records[name].to_numpy_ndarrays()
    except (KeyError, ValueError) as error:
        raise BadUpdate(f"A message has no array called {name}.") from error
    return np.asarray(array)


def task_record(task: RoundTask, parameters: Parameters | None) -> RecordDict:
    fields: dict[str, Any] = {"settings": task.settings.model_dump_json()}
    if parameters is not None:
        fields |= {"round_id": parameters.round_id, "clients": list(parameters.clients)}
    return record(fields, weights=task.weights)


def task_of(content: RecordDict) -> tuple[RoundTask, Parameters | None]:
    """The parameters are computed from the task, not taken from the server."""
    fields = fields_of(content)
    try:
        settings = TaskSettings.model_validate_json(fields["settings"])
        task = RoundTask(settings, np.asarray(array_of(content, "weights"), dtype=np.float32))
        parameters = task.parameters(fields["round_id"], tuple(fields["clients"])) if settings.secure else None
    except (KeyError, ValueError) as error:
        raise BadUpdate("The server's task is malformed; client and server need the same version of the trainer.") from error
    return task, parameters


def adverts_record(adverts: tuple[Advert, ...]) -> RecordDict:
    keys = [key for a in adverts for key in (a.mask_public, a.envelope_public, a.signature)]
    return record({"clients": [a.client for a in adverts], "keys": keys})


def adverts_of(content: RecordDict) -> tuple[Advert, ...]:
    fields = fields_of(content)
    clients, keys = _list(fields, "clients"), _list(fields, "keys")
    if len(keys) != 3 * len(clients):
        raise BadUpdate("The adverts are malformed.")
    return tuple(Advert(client, *keys[3 * i : 3 * i + 3]) for i, client in enumerate(clients))


def begun_of(content: RecordDict) -> tuple[Advert, float | None]:
    """A client's answer to the beginning of a round: its advert, and the epsilon that it has spent in total."""
    adverts = adverts_of(content)
    epsilon = fields_of(content).get("epsilon")
    if len(adverts) != 1:
        raise BadUpdate("A client answers with one advert.")
    return adverts[0], epsilon if isinstance(epsilon, float) else None


def sealed_record(client: int, sealed: Mapping[int, bytes]) -> RecordDict:
    return record({"client": client, "to": list(sealed), "sealed": list(sealed.values())})


def envelopes_of(content: RecordDict) -> Envelopes:
    fields = fields_of(content)
    return Envelopes(_integer(fields, "client"), _pairs(fields, "to", "sealed"))


def masked_record(message: Masked) -> RecordDict:
    return record({"client": message.client}, vector=message.vector)


def masked_of(content: RecordDict) -> Masked:
    return Masked(_integer(fields_of(content), "client"), array_of(content, "vector"))


def confirmation_record(message: Confirmation) -> RecordDict:
    return record({"client": message.client, "signature": message.signature})


def confirmation_of(content: RecordDict) -> Confirmation:
    fields = fields_of(content)
    signature = fields.get("signature")
    if not isinstance(signature, bytes):
        raise BadUpdate("A confirmation has no signature.")
    return Confirmation(_integer(fields, "client"), signature)


def request_record(request: UnmaskRequest) -> RecordDict:
    return record(
        {
            "seeds_of": list(request.seeds_of),
            "keys_of": list(request.keys_of),
            "confirmed": [c.client for c in request.confirmations],
            "signatures": [c.signature for c in request.confirmations],
        }
    )


def request_of(content: RecordDict) -> UnmaskRequest:
    fields = fields_of(content)
    confirmations = tuple(Confirmation(client, signature) for client, signature in _pairs(fields, "confirmed", "signatures").items())
    return UnmaskRequest(tuple(_list(fields, "seeds_of")), tuple(_list(fields, "keys_of")), confirmations)


def shares_record(shares: Shares) -> RecordDict:
    return record(
        {
            "client": shares.client,
            "seeds_of": list(shares.of_seeds),
            "seeds": list(shares.of_seeds.values()),
            "keys_of": list(shares.of_keys),
            "keys": list(shares.of_keys.values()),
        }
    )


def shares_of(content: RecordDict) -> Shares:
    fields = fields_of(content)
    return Shares(_integer(fields, "client"), _pairs(fields, "seeds_of", "seeds"), _pairs(fields, "keys_of", "keys"))


def _integer(fields: Fields, name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int):
        raise BadUpdate(f"A message has no number called {name}.")
    return value


def _list(fields: Fields, name: str) -> list[Any]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise BadUpdate(f"A message has no list called {name}.")
    return value


def _pairs(fields: Fields, keys: str, values: str) -> dict[int, bytes]:
    left, right = _list(fields, keys), _list(fields, values)
    if len(left) != len(right) or not all(isinstance(k, int) for k in left) or not all(isinstance(v, bytes) for v in right):
        raise BadUpdate(f"The lists {keys} and {values} of a message do not fit together.")
    return dict(zip(left, right, strict=True))
