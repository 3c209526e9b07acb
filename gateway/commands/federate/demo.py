"""`llmos federate demo`: the whole trainer on this machine, with a gateway in front of the model server."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gateway.commands.federate.options import console, told

if TYPE_CHECKING:
    from federated_trainer.demo.show import Outcome


def demo(
    base_model: Annotated[Path, typer.Option(help="The base model's folder.", exists=True)] = Path(".llmos/models/smollm2"),
    vllm_url: Annotated[
        str, typer.Option(help="A running vLLM with runtime LoRA loading; 'none' leaves serving out.")
    ] = "http://127.0.0.1:8001/v1",
    folder: Annotated[Path, typer.Option(help="Where the demonstration's files go.")] = Path(".llmos/federate-demo"),
    port: Annotated[int, typer.Option(help="The SuperLink's port; the next three are the SuperNodes'.")] = 9400,
    rounds: Annotated[int, typer.Option(min=1, help="Honest rounds.")] = 3,
    base_name: Annotated[str, typer.Option(help="The base model's name at the model server.")] = "smollm2",
    alias: Annotated[str, typer.Option(help="The name that callers use; versions are served as ALIAS@rN.")] = "smollm2",
    gateway: Annotated[bool, typer.Option(help="Stream through a gateway of the demonstration's own, which moves the alias.")] = True,
) -> None:
    """Three institutions train together on this machine: TLS, secure sum, differential privacy, hot swaps, a poisoned round, a rollback."""
    from federated_trainer.demo.show import Caller, show
    from federated_trainer.demo.workspace import Serving
    from gateway.commands.federate.demo_gateway import demonstration_gateway

    # A SIGTERM cleans up as Ctrl-C does: the demonstration's processes end with it.
    signal.signal(signal.SIGTERM, _interrupt)
    began = time.monotonic()

    def tell(what: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  ", end="")
        console.print(what, markup=False, highlight=False)

    folder = folder.absolute()
    with told(), ExitStack() as stack:
        serving, caller = None, None
        if vllm_url != "none":
            serving, caller = Serving(vllm_url, base_name, alias), Caller(vllm_url, "none", None)
            if gateway:
                tell("starting a gateway")
                running = stack.enter_context(demonstration_gateway(folder / "gateway", vllm_url))
                serving = Serving(vllm_url, base_name, alias, running.url, running.operator_key_file)
                caller = Caller(f"{running.url}/v1", running.caller_key, alias)
        _print(show(folder, base_model.absolute(), serving, caller, port, rounds, tell))
        tell(f"done; the numbers are in {folder / 'outcome.json'}")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _print(outcome: Outcome) -> None:
    names = [name for name in outcome.baseline if name.startswith("perplexity")]
    table = Table("", *names, "clients", "seconds", "outcome", title="Rounds")
    table.add_row("before", *(f"{outcome.baseline[name]:.1f}" for name in names), "", "", "")
    for entry in outcome.rounds:
        measures = entry.get("measures", {})
        verdict = f"published as r{entry['version']}" if entry["version"] is not None else "refused"
        cells = [f"{measures[name]:.1f}" if name in measures else "–" for name in names]
        seconds = f"{sum(entry.get('stage_s', {}).values()):.0f}"
        table.add_row(f"round {entry['round_number']}", *cells, str(entry.get("clients", "–")), seconds, verdict)
    console.print(table)
    steps = Table("step", "seconds")
    for step, seconds_of_step in outcome.seconds.items():
        steps.add_row(step, f"{seconds_of_step:.1f}")
    console.print(steps)
    answers = Table("served", "answer", title=outcome.question)
    for served, answer in outcome.answers:
        answers.add_row(served, answer)
    console.print(answers)
    console.print(f"streamed requests: {outcome.streamed}; failed: {len(outcome.failures)} {sorted(set(outcome.failures))}", markup=False)
    for name, seen in outcome.traffic.items():
        console.print(f"  {name} answered {seen.requests} requests, {seen.failed} failed", markup=False)
    spent = {name: round(epsilon, 2) for name, epsilon in outcome.epsilons.items()}
    console.print(f"epsilon by institution (data subject, delta 1e-5): {spent}", markup=False)
