"""Every error that MPC inference raises, in one tree.

    MpcError
    ├── CoreBuildFailed        the C core did not compile
    ├── ModelUnsupported       an architecture, a shape or a file that this engine cannot run
    ├── ConfigInvalid          a deployment file that cannot be used
    ├── RequestRefused         the request itself is at fault
    │   ├── ContextTooLong     prompt and answer do not fit the context
    │   ├── InvalidSampling    sampling parameters out of range
    │   └── GatewayRefused     a gateway does not carry a blind request: key, policy, limit
    ├── Busy                   the queue is full; retry_after_s says when to come back
    └── ProtocolError          the other side, or the wire
        ├── PeerUnavailable    nobody answers, or the link broke
        ├── DeadlineExceeded   the other side is too slow
        ├── HandshakeRefused   another version, another model, another role
        ├── FrameInvalid       a frame that is truncated, replayed, too large or of the wrong kind
        └── SessionLost        the session's randomness is gone; start a new request

Messages say what was wrong and how to mend it.  They never quote prompt text, token ids, shares or keys.
"""

from __future__ import annotations


class MpcError(Exception):
    """Anything that goes wrong in MPC inference."""


class CoreBuildFailed(MpcError):
    """The C core could not be compiled."""


class ModelUnsupported(MpcError):
    """The model is not one that this engine can run."""


class ConfigInvalid(MpcError):
    """A configuration file is missing, malformed or contradictory."""


class RequestRefused(MpcError):
    """The request is at fault, not the service."""


class ContextTooLong(RequestRefused):
    """Prompt and answer together exceed the context."""


class InvalidSampling(RequestRefused):
    """A sampling parameter is out of its range."""


class GatewayRefused(RequestRefused):
    """The gateway between a blind caller and the parties refuses to carry the request."""


class Busy(MpcError):
    """The bounded queue is full."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProtocolError(MpcError):
    """The other side or the wire misbehaved."""


class PeerUnavailable(ProtocolError):
    """Nobody answers, or the connection broke."""


class DeadlineExceeded(ProtocolError):
    """The other side did not answer in time."""


class HandshakeRefused(ProtocolError):
    """The other side speaks another version, holds another model, or has another role."""


class FrameInvalid(ProtocolError):
    """A frame is truncated, replayed, too large or of the wrong kind."""


class SessionLost(ProtocolError):
    """The session's correlated randomness is gone: nothing of it is ever used again."""
