"""The client's half of a secure sum: a state machine that answers each stage once, in order, or refuses for good.

A refusal (SecureSumError) moves the session to ABORTED, where it answers nothing more: a server cannot probe it twice.
`to_state` and `from_state` carry a session from one Flower message to the next; the state holds secrets and must stay with
the client. Not covered: the truth of the vector, and a peer identity key that was stolen.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from federated_trainer.errors import BadConfiguration, IllegalStage, PeerRejected, SecureSumError, ServerMisbehaved, TooFewClients
from federated_trainer.secure_sum import shamir
from federated_trainer.secure_sum.mask import apply_mask, pairwise_mask
from federated_trainer.secure_sum.messages import Advert, Confirmation, Envelopes, Masked, Shares, UnmaskRequest, survivors_bytes
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.secure_sum.primitives import KeyPair, agree, seal, sign, unseal, verifies
from federated_trainer.secure_sum.quantize import RingVector, ring_dtype


class Stage(IntEnum):
    """What the client may be asked next; ABORTED and DONE answer nothing."""

    ADVERTISE = 0
    SHARE = 1
    MASK = 2
    CONFIRM = 3
    UNMASK = 4
    DONE = 5
    ABORTED = 6


class ClientSession:
    """One client in one secure sum.

    roster: the Ed25519 public key of every invited client, from a source other than the server.
    minimum_clients: this institution's own floor on the threshold, which bounds the vectors in any sum from below.
    fewest_survivors: the fewest vectors in a sum that it helps to open (noise may be calibrated to them); None: minimum_clients.

    Raises BadConfiguration where the parameters do not fit the client, its roster or its floor.
    """

    def __init__(
        self,
        parameters: Parameters,
        client: int,
        identity_private: bytes,
        roster: Mapping[int, bytes],
        minimum_clients: int = 2,
        fewest_survivors: int | None = None,
    ) -> None:
        if client not in parameters.clients or any(other not in roster for other in parameters.clients):
            raise BadConfiguration("The roster must name this client and every other client of the sum.")
        if parameters.threshold < minimum_clients:
            raise BadConfiguration(f"This client takes part in sums of at least {minimum_clients} clients only.")
        self.parameters = parameters
        self.client = client
        self.stage = Stage.ADVERTISE
        self._fewest_survivors = minimum_clients if fewest_survivors is None else fewest_survivors
        self._session_id = parameters.session_id()
        self._neighbours = parameters.neighbourhood(client)
        self._positions = {other: position for position, other in enumerate(parameters.clients, start=1)}
        self._identity_private = identity_private
        self._roster = dict(roster)
        self._mask_keys = KeyPair.generate()
        self._envelope_keys = KeyPair.generate()
        self._self_seed = secrets.token_bytes(32)
        self._adverts: dict[int, Advert] = {}
        self._own_shares: tuple[bytes, bytes] = (b"", b"")
        self._sealed: dict[int, bytes] = {}
        self._survivors: tuple[int, ...] = ()

    def advertise(self) -> Advert:
        """Stage 1. Raises IllegalStage."""
        self._enter(Stage.ADVERTISE)
        unsigned = Advert(self.client, self._mask_keys.public, self._envelope_keys.public, b"")
        self.stage = Stage.SHARE
        return Advert(
            self.client,
            unsigned.mask_public,
            unsigned.envelope_public,
            sign(self._identity_private, unsigned.signed_bytes(self._session_id)),
        )

    def share(self, adverts: Iterable[Advert]) -> Envelopes:
        """Stage 2: check every advert, then seal one pair of shares for each neighbour that advertised.

        Raises IllegalStage, PeerRejected (a signature that does not verify, a key twice), TooFewClients, ServerMisbehaved.
        """
        self._enter(Stage.SHARE)
        with _Abort(self):
            seen: dict[int, Advert] = {}
            for advert in adverts:
                if advert.client not in self._roster or advert.client in seen or advert.client not in self.parameters.clients:
                    raise ServerMisbehaved("The server passed on an advert of an unknown client, or two of one client.")
                if not verifies(self._roster[advert.client], advert.signed_bytes(self._session_id), advert.signature):
                    raise PeerRejected(
                        f"The advert of client {advert.client} is not signed by its identity in the roster for this session."
                    )
                seen[advert.client] = advert
            keys = [key for advert in seen.values() for key in (advert.mask_public, advert.envelope_public)]
            if len(set(keys)) != len(keys):
                raise PeerRejected("Two adverts carry the same public key.")
            own = seen.get(self.client)
            if own is None or (own.mask_public, own.envelope_public) != (self._mask_keys.public, self._envelope_keys.public):
                raise ServerMisbehaved("The server left out or replaced this client's own advert.")
            self._adverts = {other: seen[other] for other in self._neighbours if other in seen}
            holders = sorted((*self._adverts, self.client))
            self._need(len(holders))
            positions = [self._positions[holder] for holder in holders]
            key_shares = shamir.split(self._mask_keys.private, self.parameters.threshold, positions)
            seed_shares = shamir.split(self._self_seed, self.parameters.threshold, positions)
            self._own_shares = (key_shares[self._positions[self.client]], seed_shares[self._positions[self.client]])
            sealed = {
                other: seal(
                    self._envelope_key(other),
                    self._session_id,
                    self.client,
                    other,
                    key_shares[self._positions[other]] + seed_shares[self._positions[other]],
                )
                for other in self._adverts
            }
        self.stage = Stage.MASK
        return Envelopes(self.client, sealed)

    def mask(self, envelopes: Mapping[int, bytes], vector: RingVector) -> Masked:
        """Stage 3: the vector under the self mask and one pairwise mask for each neighbour whose envelope came.

        Raises IllegalStage, TooFewClients, ServerMisbehaved, BadConfiguration (a vector of another length or type).
        """
        self._enter(Stage.MASK)
        with _Abort(self):
            if vector.shape != (self.parameters.length,) or vector.dtype != ring_dtype(self.parameters.ring_bits):
                raise BadConfiguration("The vector does not have the length and the ring of the parameters.")
            if any(sender not in self._adverts for sender in envelopes):
                raise ServerMisbehaved("The server passed on an envelope of a client that did not advertise, or is no neighbour.")
            self._need(len(envelopes) + 1)
            self._sealed = dict(envelopes)
            masked = vector.copy()
            apply_mask(masked, self._self_seed, subtract=False, ring_bits=self.parameters.ring_bits)
            for other in self._sealed:
                seed = agree(self._mask_keys, self._adverts[other].mask_public, b"mask", self._session_id, self.client, other)
                pairwise_mask(masked, seed, self.client, other, self.parameters.ring_bits)
        self.stage = Stage.CONFIRM
        return Masked(self.client, masked)

    def confirm(self, survivors: Iterable[int]) -> Confirmation:
        """Stage 4: sign the survivors, once. Raises IllegalStage, ServerMisbehaved, TooFewClients."""
        self._enter(Stage.CONFIRM)
        with _Abort(self):
            named = tuple(sorted(set(survivors)))
            if self.client not in named or not set(named) <= set(self.parameters.clients):
                raise ServerMisbehaved("The survivors leave out this client, or name one that was not invited.")
            if any(other in self._neighbours and other not in self._sealed for other in named):
                raise ServerMisbehaved("The survivors name a neighbour that never shared its keys.")
            if len(named) < self._fewest_survivors:
                raise TooFewClients(f"{len(named)} clients are in the sum; this client opens sums of {self._fewest_survivors} and more.")
            self._need(sum(other in self._sealed or other == self.client for other in named))
            self._survivors = named
        self.stage = Stage.UNMASK
        return Confirmation(self.client, sign(self._identity_private, survivors_bytes(self._session_id, self._survivors)))

    def unmask(self, request: UnmaskRequest) -> Shares:
        """Stage 5: one share for each client asked for, of its seed if it survived, of its key if it dropped out.

        Raises IllegalStage, ServerMisbehaved (both for one client, or not after the confirmed survivors), TooFewClients,
        PeerRejected (a false confirmation or envelope).
        """
        self._enter(Stage.UNMASK)
        with _Abort(self):
            if set(request.seeds_of) & set(request.keys_of):
                raise ServerMisbehaved("The server asked for both the seed and the key of one client; its vector would be open.")
            holders = {self.client, *self._sealed}
            if any(other not in holders or other not in self._survivors for other in request.seeds_of):
                raise ServerMisbehaved("The server asked for the seed of a client that did not survive or is no neighbour.")
            if any(other not in holders or other in self._survivors for other in request.keys_of):
                raise ServerMisbehaved("The server asked for the key of a client that survived or is no neighbour.")
            signed = survivors_bytes(self._session_id, self._survivors)
            confirmed = {
                c.client for c in request.confirmations if c.client in holders and verifies(self._roster[c.client], signed, c.signature)
            }
            if len(confirmed) < self.parameters.threshold:
                raise TooFewClients(
                    f"Only {len(confirmed)} clients of this neighbourhood confirmed the same survivors; {self.parameters.threshold} must."
                )
            pairs = {other: self._open(other) for other in (*request.seeds_of, *request.keys_of)}
        self.stage = Stage.DONE
        return Shares(
            self.client, {other: pairs[other][1] for other in request.seeds_of}, {other: pairs[other][0] for other in request.keys_of}
        )

    def _open(self, other: int) -> tuple[bytes, bytes]:
        """(share of the mask key, share of the seed) of `other`, held by this client."""
        if other == self.client:
            return self._own_shares
        plain = unseal(self._envelope_key(other), self._session_id, other, self.client, self._sealed[other])
        if len(plain) != 2 * shamir.SHARE_BYTES:
            raise PeerRejected(f"The envelope of client {other} does not hold two shares.")
        return plain[: shamir.SHARE_BYTES], plain[shamir.SHARE_BYTES :]

    def _envelope_key(self, other: int) -> bytes:
        return agree(self._envelope_keys, self._adverts[other].envelope_public, b"envelope key", self._session_id, self.client, other)

    def _need(self, present: int) -> None:
        if present < self.parameters.threshold:
            raise TooFewClients(f"{present} clients of this neighbourhood are left; the threshold is {self.parameters.threshold}.")

    def _enter(self, stage: Stage) -> None:
        if self.stage is not stage:
            was, self.stage = self.stage, Stage.ABORTED
            raise IllegalStage(f"The client was asked to {stage.name.lower()} in stage {was.name}; the session is over.")

    def to_state(self) -> dict[str, Any]:
        """The session as integers, bytes and lists of them. It holds secrets: keep it with the client."""
        return {
            "stage": int(self.stage),
            "keys": [self._mask_keys.private, self._envelope_keys.private, self._self_seed, *self._own_shares],
            "advert_clients": list(self._adverts),
            "advert_keys": [key for a in self._adverts.values() for key in (a.mask_public, a.envelope_public, a.signature)],
            "sealed_clients": list(self._sealed),
            "sealed": list(self._sealed.values()),
            "survivors": list(self._survivors),
        }

    @classmethod
    def from_state(
        cls,
        parameters: Parameters,
        client: int,
        identity_private: bytes,
        roster: Mapping[int, bytes],
        state: Mapping[str, Any],
        minimum_clients: int = 2,
        fewest_survivors: int | None = None,
    ) -> ClientSession:
        """The session that `to_state` wrote, for the same parameters and client."""
        session = cls(parameters, client, identity_private, roster, minimum_clients, fewest_survivors)
        session.stage = Stage(state["stage"])
        mask_private, envelope_private, session._self_seed, key_share, seed_share = state["keys"]
        session._mask_keys, session._envelope_keys = KeyPair.from_private(mask_private), KeyPair.from_private(envelope_private)
        session._own_shares = (key_share, seed_share)
        keys = state["advert_keys"]
        session._adverts = {other: Advert(other, *keys[3 * i : 3 * i + 3]) for i, other in enumerate(state["advert_clients"])}
        session._sealed = dict(zip(state["sealed_clients"], state["sealed"], strict=True))
        session._survivors = tuple(state["survivors"])
        return session


class _Abort:
    """Ends the session on any refusal inside."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SecureSumError | BadConfiguration):
            self._session.stage = Stage.ABORTED
