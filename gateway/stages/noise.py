"""Stage 6: the policy's differential-privacy mechanism, where one is declared for the answer.

A policy without a mechanism, the only kind so far, leaves the answer as it is and makes no claim. It does not add noise to the request.
"""

from __future__ import annotations

from gateway.exchange import Answered


async def noise(answered: Answered) -> Answered:
    """The answer with the declared noise: none is declared, so it is the answer itself."""
    return answered
