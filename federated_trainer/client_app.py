"""The client's Flower app: one handler for each stage of a round, around the institution's training and its secure sum.

Flower runs each message in a process of its own; the session between two messages is kept in Flower's `context.state`,
which stays in the institution's SuperNode (in its memory, never sent). A refusal goes back as its kind and its message,
which quotes no data; the server counts the client as dropped out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from federated_trainer import wire
from federated_trainer.codec import codec_of
from federated_trainer.contribution import Contribute
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadConfiguration, IllegalStage, TrainerError
from federated_trainer.roster import client_id, public_of, read_private_key, read_roster
from federated_trainer.secure_sum.client import ClientSession
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.settings import InstitutionSettings, read_settings

Handler = Callable[[Message, Context, InstitutionSettings], RecordDict]


def _handles(handler: Handler) -> Callable[[Message, Context], Message]:
    """The institution's settings go in; a TrainerError comes out as a refusal."""

    def handle(message: Message, context: Context) -> Message:
        try:
            path = context.node_config.get("institution")
            if not isinstance(path, str):
                raise BadConfiguration("Start the SuperNode with --node-config 'institution=\"FILE\"'.")
            content = handler(message, context, read_settings(Path(path), InstitutionSettings))
        except TrainerError as error:
            content = wire.record({"refused": type(error).__name__, "why": str(error)})
        return Message(content, reply_to=message)

    return handle


def join(message: Message, context: Context, own: InstitutionSettings) -> RecordDict:
    """Who this client is: the public identity key that its roster names."""
    identity = public_of(read_private_key(own.identity_key))
    if client_id(identity) not in read_roster(own.roster).identities:
        raise BadConfiguration(f"The roster of {own.name} does not name its own identity key.")
    return wire.record({"client": client_id(identity)})


def _installed_training() -> Contribute:
    """The institution's own training. Loading torch takes seconds, and the other stages do without it."""
    from federated_trainer.institution import contribute

    return contribute


def begin(message: Message, context: Context, own: InstitutionSettings, contribute: Contribute) -> RecordDict:
    """Train, keep the encoded update, advertise the session's keys."""
    task, parameters = wire.task_of(message.content)
    task.check_floors(own)
    private, roster = read_private_key(own.identity_key), read_roster(own.roster)
    if parameters is None:
        contribution = contribute(task, own, SecureRandom())
        fields = {} if contribution.epsilon is None else {"epsilon": contribution.epsilon}
        return wire.record(fields, vector=contribution.vector)
    fewest = task.fewest_survivors(own)
    session = ClientSession(parameters, client_id(public_of(private)), private, roster.identities, own.minimum_clients, fewest)
    codec = codec_of(task, len(parameters.clients))  # refuses before the ledger is charged
    random = SecureRandom()
    contribution = contribute(task, own, random)
    context.state["update"] = ArrayRecord([codec.encode(contribution, random)])
    context.state["parameters"] = _parameters_record(parameters, fewest)
    advert = session.advertise()
    _keep(context, session)
    content = wire.adverts_record((advert,))
    if contribution.epsilon is not None:
        content.config_records["fields"]["epsilon"] = contribution.epsilon
    return content


def share(message: Message, context: Context, own: InstitutionSettings) -> RecordDict:
    session = _resume(context, own)
    try:
        envelopes = session.share(wire.adverts_of(message.content))
    finally:
        _keep(context, session)
    return wire.sealed_record(envelopes.client, envelopes.sealed)


def mask(message: Message, context: Context, own: InstitutionSettings) -> RecordDict:
    session = _resume(context, own)
    try:
        masked = session.mask(wire.envelopes_of(message.content).sealed, wire.array_of(context.state, "update"))
    finally:
        context.state.pop("update", None)
        _keep(context, session)
    return wire.masked_record(masked)


def confirm(message: Message, context: Context, own: InstitutionSettings) -> RecordDict:
    session = _resume(context, own)
    try:
        confirmation = session.confirm(wire.fields_of(message.content).get("survivors", []))
    finally:
        _keep(context, session)
    return wire.confirmation_record(confirmation)


def unmask(message: Message, context: Context, own: InstitutionSettings) -> RecordDict:
    session = _resume(context, own)
    try:
        shares = session.unmask(wire.request_of(message.content))
    finally:
        _keep(context, session)
    return wire.shares_record(shares)


def _parameters_record(parameters: Parameters, fewest_survivors: int) -> ConfigRecord:
    p = parameters
    numbers = [p.threshold, p.neighbours, p.length, p.ring_bits, fewest_survivors]
    return ConfigRecord({"bytes": [p.round_id, p.context], "clients": list(p.clients), "numbers": numbers})


def _keep(context: Context, session: ClientSession) -> None:
    state = session.to_state()
    context.state["session"] = ConfigRecord({name: value for name, value in state.items() if value != []})


def _resume(context: Context, own: InstitutionSettings) -> ClientSession:
    """The session of the message before. Raises IllegalStage where there is none."""
    if "session" not in context.state or "parameters" not in context.state:
        raise IllegalStage("No round has begun at this client; its SuperNode may have been restarted. It rejoins in the next round.")
    kept: dict[str, Any] = dict(context.state.config_records["parameters"])
    round_id, task_context = kept["bytes"]
    threshold, neighbours, length, ring_bits, fewest = kept["numbers"]
    parameters = Parameters(round_id, tuple(kept["clients"]), threshold, neighbours, length, ring_bits, task_context)
    empty: dict[str, Any] = {name: [] for name in ("advert_clients", "advert_keys", "sealed_clients", "sealed", "survivors")}
    state = empty | dict(context.state.config_records["session"])
    private, roster = read_private_key(own.identity_key), read_roster(own.roster)
    own_id = client_id(public_of(private))
    return ClientSession.from_state(parameters, own_id, private, roster.identities, state, own.minimum_clients, fewest)


def make_app(load_training: Callable[[], Contribute] = _installed_training) -> ClientApp:
    """The app; `load_training` gives the function that turns a task into a contribution."""
    made = ClientApp()

    def begin_with(message: Message, context: Context, own: InstitutionSettings) -> RecordDict:
        return begin(message, context, own, load_training())

    made.query("join")(_handles(join))
    for action, handler in (("begin", begin_with), ("share", share), ("mask", mask), ("confirm", confirm), ("unmask", unmask)):
        made.train(action)(_handles(handler))
    return made


app = make_app()
