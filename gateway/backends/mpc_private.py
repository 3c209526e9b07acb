"""Draws the tokens of secret-shared inference under a policy's token mechanism, and proves to the backend that each one was drawn.

The engine hands this sampler the logits that the client reconstructed. A deployment whose parties draw by themselves never calls it:
`seed` makes such a deployment refuse the request, and `Drawn.check` refuses a token that was not drawn here, whatever the engine does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from gateway.dp.local_draw import draw_token
from gateway.errors import UpstreamFailed
from mpc_inference.sampling import Sampling
from policies.dp import TokenRule


@dataclass(frozen=True)
class PrivateDraw(Sampling):
    """One answer's draws. The seed is not used: drawing takes the operating system's randomness."""

    rule: TokenRule = field(kw_only=True)
    drawn: list[int] = field(default_factory=list, kw_only=True)
    seed: int | None = 0

    def draw(self, logits: NDArray[Any], position: int) -> int:
        """Raises UpstreamFailed for logits that do not fit the policy."""
        try:
            token = draw_token(self.rule, logits)
        except ValueError:
            raise UpstreamFailed("The model of secret-shared inference has another vocabulary than the policy states.") from None
        self.drawn.append(token)
        return token

    def check(self, count: int, token: int) -> None:
        """Raise UpstreamFailed unless the `count`-th token of the answer is the one that was drawn for it."""
        if len(self.drawn) < count or self.drawn[count - 1] != token:
            raise UpstreamFailed("Secret-shared inference answered with a token that was not drawn privately; it was not released.")
