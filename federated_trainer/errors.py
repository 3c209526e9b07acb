"""One tree of the trainer's errors; the message says what was wrong and how to mend it, and never quotes training text.

TrainerError
├── BadConfiguration      a setting that no round can run with
├── BadDataset            empty or malformed examples
├── BadUpdate             an update that is malformed, not finite, of another shape or base model, or too large
├── SecureSumError
│   ├── IllegalStage      a message that this stage of the protocol does not allow
│   ├── PeerRejected      a signature, key or envelope of another client that does not verify
│   ├── ServerMisbehaved  a request that an honest server never sends; the client stops for good
│   ├── TooFewClients     fewer survivors than the threshold
│   └── HeadRoom          a sum that could wrap around the ring
├── BudgetSpent           the round would spend more privacy budget than is left
├── GateRefused           the candidate is not good enough, or leaks; the served model stays
├── RegistryError
│   ├── NotTrusted        unsigned, signed by another key, altered, or for another base model
│   └── AlreadyPublished  a version that exists; versions are immutable
├── RefreshFailed         the model server or the gateway did not take the new version; the served model stays
└── ScheduleError
    ├── BadCron           an expression that is no cron expression
    └── RoundLocked       another scheduler holds the lock of the round
"""

from __future__ import annotations


class TrainerError(Exception):
    """The root of the trainer's errors."""


class BadConfiguration(TrainerError):
    pass


class BadDataset(TrainerError):
    pass


class BadUpdate(TrainerError):
    pass


class SecureSumError(TrainerError):
    pass


class IllegalStage(SecureSumError):
    pass


class PeerRejected(SecureSumError):
    pass


class ServerMisbehaved(SecureSumError):
    pass


class TooFewClients(SecureSumError):
    pass


class HeadRoom(SecureSumError):
    pass


class BudgetSpent(TrainerError):
    pass


class GateRefused(TrainerError):
    """`reasons` lists every check that failed, each as one sentence."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("The candidate was refused: " + " ".join(reasons))
        self.reasons = reasons


class RegistryError(TrainerError):
    pass


class NotTrusted(RegistryError):
    pass


class AlreadyPublished(RegistryError):
    pass


class RefreshFailed(TrainerError):
    pass


class ScheduleError(TrainerError):
    pass


class BadCron(ScheduleError):
    pass


class RoundLocked(ScheduleError):
    pass
