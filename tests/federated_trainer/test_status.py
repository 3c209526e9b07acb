"""The status on disk and at the gateway: finite numbers, bounded words, and a gateway that is away holds up nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from federated_trainer.errors import BudgetSpent
from federated_trainer.gateway_admin import GatewayAdmin, RoundsTeller
from federated_trainer.round import RoundReport
from federated_trainer.status import Status

MEASURES = {"perplexity": math.inf, "accuracy": 0.4}
REPORT = RoundReport(1, 3, None, ("x" * 900,), MEASURES, None, {"a": 2.0, "b": 3.5}, {}, {"train": 4.0, "evaluate": 1.5})


def test_what_the_gateway_is_told_is_what_its_api_takes(tmp_path: Path) -> None:
    from gateway.admin.models_api import FederationBody  # the contract's other side

    told: list[dict[str, Any]] = []
    status = Status(tmp_path, lambda stage, what: None, lambda state: told.append(dict(state)))
    status.finished(REPORT)
    status.failed(2, BudgetSpent("This training would bring the data subjects' epsilon to 9."))
    body = FederationBody.model_validate_json(json.dumps({"alias": "smollm2", **told[-1]}, allow_nan=False))
    assert (body.stage, len(body.rounds)) == ("failed", 2)
    assert (body.rounds[0].perplexity, body.rounds[0].epsilon, body.rounds[0].seconds) == (None, 3.5, 5.5)
    assert len(body.rounds[0].reasons[0]) == 500
    assert "BudgetSpent" in body.rounds[1].reasons[0]
    assert Status(tmp_path, lambda stage, what: None).rounds_so_far() == 2, "it is on disk"


def test_a_gateway_that_is_away_is_asked_once_and_then_left_alone_for_a_while() -> None:
    asked: list[str] = []

    def away(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ConnectError("refused", request=request)

    teller = RoundsTeller(GatewayAdmin("http://gateway", "k", httpx.MockTransport(away)), "clinics", "smollm2")
    for _ in range(3):
        teller.tell({"stage": "train"})
    assert asked == ["/admin/v1/rounds/clinics"]
    RoundsTeller(None, "clinics", "smollm2").tell({"stage": "train"})


@pytest.mark.parametrize("name", ["status.json", "rounds.jsonl"])
def test_both_files_are_readable_json(tmp_path: Path, name: str) -> None:
    status = Status(tmp_path, lambda stage, what: None)
    status.tell("train", "begin: 3 clients")
    status.finished(REPORT)
    assert all(json.loads(line) for line in (tmp_path / name).read_text().splitlines())
