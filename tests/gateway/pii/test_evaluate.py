from __future__ import annotations

import json

import pytest

from gateway.exchange import Span
from gateway.pii.evaluate import LabelledText, evaluate, read_labelled, wilson_interval


def test_wilson_interval_agrees_with_published_values() -> None:
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_a_label_counts_only_when_wholly_covered() -> None:
    rows = [LabelledText("Ann Lee met Bob", ((0, 7, "PERSON"), (12, 15, "PERSON")))]
    result = evaluate(rows, lambda text: [Span(0, 7, "PERSON", 1.0), Span(12, 14, "PERSON", 1.0), Span(8, 11, "GPE", 1.0)])
    assert (result.overall.found, result.overall.labelled) == (1, 2)
    assert result.false_characters_per_thousand == pytest.approx(1000 * 3 / 15)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"text": 1, "spans": []}', json.dumps({"text": "Canary", "spans": [{"start": 0, "end": 9, "entity": "X"}]})]
)
def test_a_bad_line_is_named_but_not_quoted(line: str) -> None:
    with pytest.raises(ValueError, match="line 2") as raised:
        list(read_labelled(["", line]))
    assert "Canary" not in str(raised.value)
