"""`python -m federated_trainer.supernode`: Flower's SuperNode with its own options, asking for messages more often within a round.

Flower 1.41 asks every 3 s and has no setting for it; a round is six exchanges, so that waiting would be a third of it.
While messages come, and for a minute after, this asks twice a second; an idle node keeps Flower's 3 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from flwr.supernode import start_client_internal
from flwr.supernode.cli import flower_supernode

ASK_EVERY_S = 0.5
REPLY_EVERY_S = 0.1
IN_ROUND_S = 60.0
_NO_MESSAGE_S = 3.0  # what Flower's loop sleeps where there was no message; it sleeps less while a message is worked on


@dataclass
class RoundClock:
    """Stands for the module `time` in Flower's loop, which takes `sleep` alone from it."""

    wait: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    quick_until: float = 0.0

    def sleep(self, seconds: float) -> None:
        if seconds < _NO_MESSAGE_S:
            self.quick_until = self.now() + IN_ROUND_S
            self.wait(min(seconds, REPLY_EVERY_S))
        else:
            self.wait(ASK_EVERY_S if self.now() < self.quick_until else seconds)


def main() -> None:
    setattr(start_client_internal, "time", RoundClock())  # noqa: B010 - the module does not export it
    flower_supernode()


if __name__ == "__main__":
    main()
