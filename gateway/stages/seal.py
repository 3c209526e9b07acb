"""Stage 3 and 4 of a blind request: may it go to the parties unread?

Only where the policy says `blind: allow`, and only to secret-shared inference. Only this module makes a `Sealed`. Nothing of the request is
scrubbed, and no rule about its text, its answer or its privacy loss applies; the caller protects itself by sharing.
"""

from __future__ import annotations

from gateway.errors import BadRequest, PolicyRefusal, UnknownField
from gateway.exchange import Admitted, Sealed

_FIELDS = frozenset(("model", "tokens"))


def seal(admitted: Admitted) -> Sealed:
    """Raises PolicyRefusal, UnknownField, BadRequest."""
    if admitted.policy.blind != "allow":
        raise PolicyRefusal("The policy does not allow blind requests; send the text itself, or ask for a policy with `blind: allow`.")
    if admitted.served.target != "mpc":
        raise PolicyRefusal("Only the secret-shared model takes blind requests.", param="model")
    body = admitted.received.body
    if unknown := body.keys() - _FIELDS:
        raise UnknownField("The opening of a blind request has only `model` and `tokens`.", param=min(unknown))
    tokens = body.get("tokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        raise BadRequest("`tokens` must be a whole number of at least 1.", param="tokens")
    return Sealed(admitted, tokens)
