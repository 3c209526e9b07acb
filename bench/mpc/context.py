"""What one token costs at a context length: CPU seconds of a party, of its work ahead and of the dealer, and megabytes.

Both parties are threads of one process; the positions before the token are not computed (their cached words are zero), because the cost
depends on how many there are and not on what they hold.
"""

from __future__ import annotations

from pathlib import Path

from bench.mpc.fidelity import Pair

CONTEXTS = (16, 32, 64, 128, 256, 512, 1024)
TIMES = 3


def measure(config: Path, contexts: tuple[int, ...] = CONTEXTS) -> list[dict[str, float | str]]:
    """The least of TIMES runs at each context length."""
    received = [0]

    def count(party: int, theirs: bytes) -> None:
        received[0] += len(theirs)

    pair = Pair(config, reveal_logits=False, on_receive=count)
    out = []
    for context in contexts:
        prefix = len(pair.recipe.prefix_tokens) if context > len(pair.recipe.prefix_tokens) else 1
        best: dict[str, float] = {}
        for _ in range(TIMES):
            received[0] = 0
            spent = pair.session(prefix).one_token(context)
            for name, value in spent.items():
                best[name] = min(best.get(name, value), value)
        out.append({"mode": pair.mode, "context": context, "online_mb": received[0] / 1e6, **best})
    return out
