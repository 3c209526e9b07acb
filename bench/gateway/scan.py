"""What the answer's scan costs in delay: characters held back while an answer streams, in each mode of `response.scan`.

The answer is fed four characters at a time, as a model would send it. Held back is what the model has sent and the caller has not
got yet. In the mode `ner` a detector that finds nothing stands in, since its time comes on top: one detection a sentence.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from gateway.exchange import IssuedValue, Span
from gateway.pii.answer_filter import AnswerFilter, AnswerRules
from policies.schema import Policy, ResponseRule

MODES = ("off", "patterns", "ner")
PIECE = 4
ISSUED = (  # as long as their tokens, so that lengths can be compared
    IssuedValue("Astrid Talbot", "Sandra Connor", "PERSON", "surrogate"),
    IssuedValue("astrid.talbot@example.com", "sandra.connor@cyberdyn.io", "EMAIL_ADDRESS", "surrogate"),
)
PROSE = (
    "Thank you for your message. The meeting has been moved, since the room that we had in mind is taken all week; "
    "everybody who was invited will hear from us again as soon as another one is found. Until then, nothing changes. "
) * 3
NUMBERS = (
    "Dear Astrid Talbot, your order 20388117 of 3 July left our house today. It comes in 2 parcels of 4.5 kg; the second one "
    "follows within 48 hours. Please write to astrid.talbot@example.com if anything is missing, or call +1 201 555 0118 from 9 to 5. "
) * 3


class _FindsNothing:
    async def detect(self, texts: Sequence[str], policy: Policy, *, tenant: str | None = None) -> list[tuple[Span, ...]]:
        return [() for _ in texts]


async def _held_back(mode: str, text: str) -> list[int]:
    policy = Policy(id="bench", response=ResponseRule(scan=mode))  # type: ignore[arg-type]
    answer = AnswerFilter(AnswerRules(policy, ISSUED, [], detector=_FindsNothing()))
    sent, got, held = 0, 0, []
    for at in range(0, len(text), PIECE):
        piece = text[at : at + PIECE]
        sent, got = sent + len(piece), got + len(await answer.feed(piece))
        held.append(max(sent - got, 0))
    return held


async def section() -> list[str]:
    """The table of the report."""
    lines = [
        "## What the scan of an answer holds back (characters)",
        "",
        "An answer that streams four characters at a time; held back is what has arrived and not gone out yet. `ner` also waits for one",
        "detection a sentence.",
        "",
        "| response.scan | prose, mean | prose, most | numbers and names, mean | numbers and names, most |",
        "| --- | --- | --- | --- | --- |",
    ]
    for mode in MODES:
        cells = [f"{f(held):.0f}" for text in (PROSE, NUMBERS) for held in [await _held_back(mode, text)] for f in (statistics.mean, max)]
        lines.append(f"| {mode} | {' | '.join(cells)} |")
    return [*lines, ""]
