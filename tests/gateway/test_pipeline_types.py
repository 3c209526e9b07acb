"""Nothing goes around the scrubber: only one module makes each rung of the ladder, and a backend takes only the last before it."""

import ast
import inspect
from pathlib import Path
from typing import get_type_hints

import pytest

from gateway.backends.mpc import MpcBackend
from gateway.backends.mpc_relay import MpcRelay
from gateway.backends.openai_http import OpenAIBackend
from gateway.exchange import Routed, Scrubbed, Sealed
from gateway.ports import Backend, SealedRelay
from gateway.stages import route as route_stage

GATEWAY = Path(inspect.getfile(route_stage)).parents[1]


def makers(name: str) -> set[str]:
    """The modules of the gateway that call `name(...)` or copy one by `replace`."""
    found = set()
    for path in GATEWAY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called == name:
                    found.add(str(path.relative_to(GATEWAY)))
    return found


@pytest.mark.parametrize(
    ("name", "module"),
    [("Scrubbed", "stages/scrub.py"), ("Routed", "stages/route.py"), ("Admitted", "stages/admit.py"), ("Sealed", "stages/seal.py")],
)
def test_only_one_module_makes_it(name: str, module: str) -> None:
    assert makers(name) == {module}


@pytest.mark.parametrize("backend", [Backend, OpenAIBackend, MpcBackend])
def test_a_backend_takes_only_what_was_routed(backend: type) -> None:
    for method in ("complete", "stream"):
        hints = get_type_hints(getattr(backend, method))
        hints.pop("return")
        assert list(hints.values()) == [Routed]


@pytest.mark.parametrize("relay", [SealedRelay, MpcRelay])
def test_a_relay_takes_only_what_was_sealed(relay: type) -> None:
    for method in ("allowance_bytes", "open"):
        hints = get_type_hints(getattr(relay, method))
        hints.pop("return")
        assert list(hints.values()) == [Sealed]


def test_a_route_takes_only_what_was_scrubbed() -> None:
    assert get_type_hints(route_stage.route)["scrubbed"] is Scrubbed


def test_no_text_shows_in_the_repr_of_any_rung() -> None:
    import gateway.exchange as exchange

    text_fields = {"body", "token", "value", "caller_texts", "issued", "events", "conversation_header"}
    for rung in (exchange.Received, exchange.Scrubbed, exchange.Routed, exchange.Answered, exchange.Released, exchange.IssuedValue):
        shown = {each.name for each in rung.__dataclass_fields__.values() if each.repr}
        assert not shown & text_fields, rung
