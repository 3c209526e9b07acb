"""The institutions behind Flower's grid: `Clients` of `round.py` over the Message API.

A round is five exchanges, one for each stage of the secure sum, the training inside the first. A client that answers with
an error, a refusal, or not in time has dropped out; the sum goes on while the threshold allows.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from federated_trainer import wire
from federated_trainer.codec import codec_of
from federated_trainer.errors import BadUpdate, TooFewClients
from federated_trainer.robust import robust_mean
from federated_trainer.roster import Roster
from federated_trainer.round import RoundUpdate
from federated_trainer.secure_sum.server import ServerSession
from federated_trainer.task import EXTRA_COORDINATES, RoundTask
from federated_trainer.weights import check_vector

Decoded = TypeVar("Decoded")
_POLL_S = 0.5
_REPLY_EVERY_S = 0.5  # Flower's own `send_and_receive` looks every 3 s
_JOIN_REPLY_S = 90.0


class FlowerClients:
    """`aggregation` is secure_sum, trimmed_mean or krum; `progress` is told what each stage waits for."""

    def __init__(
        self,
        grid: Grid,
        roster: Roster,
        aggregation: str,
        join_timeout_s: float,
        round_timeout_s: float,
        progress: Callable[[str, str], None],
    ) -> None:
        self._grid, self._roster, self._aggregation = grid, roster, aggregation
        self._join_timeout_s, self._round_timeout_s = join_timeout_s, round_timeout_s
        self._progress = progress
        self._node_of: dict[int, int] = {}
        self._refusals: dict[str, str] = {}
        self._exchange_s: dict[str, float] = {}

    def sample(self, minimum: int) -> tuple[int, ...]:
        """All institutions of the roster that are connected; waits until all are there, or `minimum` when time is up."""
        deadline = time.monotonic() + self._join_timeout_s
        while True:
            nodes = [node for node in self._grid.get_node_ids() if node not in self._node_of.values()]
            replies = self._ask("query.join", {node: wire.record({"hello": True}) for node in nodes}, _JOIN_REPLY_S)
            for node, content in replies.items():
                client = wire.fields_of(content).get("client")
                if isinstance(client, int) and client in self._roster.identities:
                    self._node_of[client] = node
            connected = set(self._grid.get_node_ids())
            here = tuple(sorted(client for client, node in self._node_of.items() if node in connected))
            if len(here) == len(self._roster.identities) or time.monotonic() > deadline:
                return here
            self._progress("sample", f"{len(here)} of {len(self._roster.identities)} institutions are connected")
            time.sleep(_POLL_S)

    def train(self, task: RoundTask, chosen: tuple[int, ...]) -> RoundUpdate:
        """Raises TooFewClients, and the errors of `secure_sum`."""
        self._refusals, self._exchange_s = {}, {}
        return self._train_securely(task, chosen) if task.settings.secure else self._train_openly(task, chosen)

    def _train_securely(self, task: RoundTask, chosen: tuple[int, ...]) -> RoundUpdate:
        parameters = task.parameters(secrets.token_bytes(32), chosen)
        codec = codec_of(task, len(chosen))
        server = ServerSession(parameters, self._roster.identities)
        began = self._stage("begin", dict.fromkeys(chosen, wire.task_record(task, parameters)), wire.begun_of)
        epsilons = {self._roster.names[client]: epsilon for client, (_, epsilon) in began.items() if epsilon is not None}
        to_share = server.take_adverts(advert for advert, _ in began.values())
        shared = self._stage("share", {c: wire.adverts_record(a) for c, a in to_share.items()}, wire.envelopes_of)
        to_mask = server.take_envelopes(shared.values())
        masked = self._stage("mask", {c: wire.sealed_record(c, sealed) for c, sealed in to_mask.items()}, wire.masked_of)
        survivors = server.take_masked(masked.values())
        confirmed = self._stage("confirm", dict.fromkeys(survivors, wire.record({"survivors": list(survivors)})), wire.confirmation_of)
        requests = server.take_confirmations(confirmed.values())
        shares = self._stage("unmask", {c: wire.request_record(r) for c, r in requests.items()}, wire.shares_of)
        decoded = codec.decode(server.take_shares(shares.values()), len(survivors))
        mean, loss, clip = decoded.mean, decoded.mean_loss, decoded.next_clip
        return RoundUpdate(mean, len(survivors), loss, epsilons, self._refusals, clip, self._exchange_s)

    def _train_openly(self, task: RoundTask, chosen: tuple[int, ...]) -> RoundUpdate:
        """Without the secure sum: each update is seen (noised by its client), malformed ones are refused, the rest is averaged robustly."""

        def vector_of(content: RecordDict) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float | None]:
            vector = np.asarray(wire.array_of(content, "vector"), dtype=np.float64)
            check_vector(vector, task.weights.size + EXTRA_COORDINATES)
            epsilon = wire.fields_of(content).get("epsilon")
            return vector, epsilon if isinstance(epsilon, float) else None

        replies = self._stage("begin", dict.fromkeys(chosen, wire.task_record(task, None)), vector_of)
        if len(replies) < 2:
            raise TooFewClients(f"{len(replies)} updates came that can be used; robust averaging needs more.")
        updates = [vector[:-EXTRA_COORDINATES] / vector[-2] for vector, _ in replies.values() if vector[-2] > 0]
        epsilons = {self._roster.names[client]: epsilon for client, (_, epsilon) in replies.items() if epsilon is not None}
        mean = robust_mean(updates, self._aggregation)
        return RoundUpdate(mean, len(updates), None, epsilons, self._refusals, exchange_s=self._exchange_s)

    def _stage(self, action: str, contents: Mapping[int, RecordDict], decode: Callable[[RecordDict], Decoded]) -> dict[int, Decoded]:
        """Send one stage to these clients and decode what comes back; whoever fails is left out and named."""
        self._progress("train", f"{action}: {len(contents)} clients")
        began = time.monotonic()
        by_node = {self._node_of[client]: content for client, content in contents.items()}
        client_of = {node: client for client, node in self._node_of.items()}
        decoded: dict[int, Decoded] = {}
        for node, content in self._ask(f"train.{action}", by_node, self._round_timeout_s).items():
            client = client_of[node]
            try:
                fields = wire.fields_of(content)
                if "refused" in fields:
                    raise BadUpdate(f"{fields['refused']}: {fields.get('why', '')}")
                decoded[client] = decode(content)
            except BadUpdate as error:
                self._refusals[self._roster.names[client]] = str(error)
        self._exchange_s[action] = round(time.monotonic() - began, 3)
        for client in contents:
            if client not in decoded:
                self._refusals.setdefault(self._roster.names[client], f"no answer in stage {action}")
        return decoded

    def _ask(self, message_type: str, contents: Mapping[int, RecordDict], timeout_s: float) -> dict[int, RecordDict]:
        """Replies by node; nodes that fail or do not answer in time are missing."""
        messages = [Message(content, node, message_type, ttl=timeout_s + 60.0) for node, content in contents.items()]
        if not messages:
            return {}
        waiting = {message_id for message_id in self._grid.push_messages(messages) if message_id}
        deadline = time.monotonic() + timeout_s
        found: dict[int, RecordDict] = {}
        while True:
            for reply in self._grid.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                if not reply.has_error():
                    found[reply.metadata.src_node_id] = reply.content
            if not waiting or time.monotonic() > deadline:
                return found
            time.sleep(_REPLY_EVERY_S)
