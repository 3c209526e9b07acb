"""Policies: validate, explain, diff, test, apply, history, rollback.

`validate` needs no store, and there `extends` may name a file beside the document; the others work on the store directly
(LLMOS_REDIS_URL, or the embedded Valkey of the data directory), and `extends` names a pack or a policy in the store.
"""

from __future__ import annotations

import datetime
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.access.roles import Permission, may
from gateway.admin.dry_run import Tried, try_policy
from gateway.admin.parts import AdminParts
from gateway.admin.policies import apply_policy, parse_policy, remove_policy, rollback_policy
from gateway.commands._administer import EXIT_REFUSED, administer, operator
from gateway.errors import NotFound
from gateway.stages.admit import may_use
from gateway.stores.keys import KeyRecord
from policies.diff import diff as policy_diff
from policies.explain import explain as policy_words
from policies.load import PolicyError, load_policy, pack_names, pack_text
from policies.resolve import Subject, choose, specificity
from policies.schema import Action, Policy

app = typer.Typer(help=__doc__, no_args_is_help=True)

Document = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A policy as YAML.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; it stays in the history.")]
Named = Annotated[str, typer.Argument(help="A file, a policy in the store, or a pack.")]


@app.command()
def validate(documents: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Policies as YAML.")]) -> None:
    """Check documents: form, fields, entities, patterns and `extends`. The exit status is 1 if one is bad."""
    bad = 0
    for path in documents:
        try:
            policy = load_policy(path.read_text("utf-8"), partial(_beside, path.parent))
            typer.echo(f"{path}: good ({policy.id}, {len(policy.entities)} entities)")
        except (PolicyError, UnicodeDecodeError) as error:
            typer.echo(f"{path}: {error}", err=True)
            bad += 1
    raise typer.Exit(EXIT_REFUSED if bad else 0)


@app.command(name="list")
def list_policies() -> None:
    """The policies that serve, and the packs that a policy can extend."""

    async def work(parts: AdminParts) -> None:
        table = Table("policy", "version", "serves", "author", "applied (UTC)", "reason")
        for entry in await parts.policies.all():
            table.add_row(entry.id, str(entry.version), _serves(entry.policy), entry.author, _utc(entry.unix_s), entry.reason)
        Console().print(table)
        typer.echo(f"packs: {', '.join(pack_names())}")

    administer(work)


@app.command()
def show(policy_id: Named) -> None:
    """The YAML of a policy in the store, of a file, or of a pack."""

    async def work(parts: AdminParts) -> None:
        typer.echo(await _source(parts, policy_id), nl=False)

    administer(work)


@app.command()
def explain(
    named: Annotated[str | None, typer.Argument(help="A file, a policy in the store, or a pack; or say --key and --model.")] = None,
    key: Annotated[str | None, typer.Option(help="A key's id: what would its request meet?")] = None,
    model: Annotated[str, typer.Option(help="The model that the key asks for.")] = "smollm2",
    path: Annotated[str, typer.Option(help="The API path.")] = "/v1/chat/completions",
) -> None:
    """A policy in plain words, or which policy a request of key K to model M would meet and why."""
    if (named is None) == (key is None):
        typer.echo("Name a policy, or give --key.", err=True)
        raise typer.Exit(2)

    async def work(parts: AdminParts) -> None:
        if named is not None:
            policy = await parse_policy(parts, await _source(parts, named))
        else:
            assert key is not None
            record = await parts.keys.get(key)
            _say_what_the_key_forbids(parts, record, model)
            subject = Subject(record.tenant, record.key_id, model, path, record.policies)
            policies = [entry.policy for entry in await parts.policies.all()]
            chosen = choose(policies, subject)
            for other in policies:
                if other is not chosen and specificity(other.match, subject) is not None:
                    typer.echo(f"Policy {other.id} matches too, less specifically.")
            if chosen is None:
                raise NotFound("No policy serves this request: it is refused.")
            policy = chosen
            typer.echo(f"Policy {policy.id} serves key {key} ({record.tenant}) for model {model} at {path}: it {_serves(policy)}.\n")
        for sentence in policy_words(policy):
            typer.echo(f"- {sentence}")

    administer(work)


@app.command()
def diff(before: Named, after: Named) -> None:
    """The fields in which two policies differ, after `extends`. The exit status is 1 if they differ."""
    differ = False

    async def work(parts: AdminParts) -> None:
        nonlocal differ
        one, two = [await parse_policy(parts, await _source(parts, name)) for name in (before, after)]
        for change in policy_diff(one, two):
            differ = True
            Console(soft_wrap=True).print(
                Text.assemble((f"{change.path}: ", "bold"), (f"{change.before}", "red"), " → ", (f"{change.after}", "green"))
            )

    administer(work)
    raise typer.Exit(EXIT_REFUSED if differ else 0)


@app.command(name="test")
def try_texts(
    named: Named,
    texts: Annotated[list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="Sample texts, else standard input.")] = None,
) -> None:
    """Run a policy over sample texts: what each rule found and did, and what the model would receive."""

    async def work(parts: AdminParts) -> None:
        policy = await parse_policy(parts, await _source(parts, named))
        samples = [(str(path), path.read_text("utf-8")) for path in texts] if texts else [("standard input", sys.stdin.read())]
        for name, text in samples:
            _print_tried(name, text, await try_policy(parts, policy, text, "-"))

    administer(work, detection=True)


@app.command()
def apply(
    document: Document,
    reason: Reason = "",
    if_match: Annotated[str | None, typer.Option(help="The ETag of the version you changed; `new` for a policy that must be new.")] = None,
) -> None:
    """Put a policy in force, on every replica within a second. Refused where it is bad or below its recall floor."""

    async def work(parts: AdminParts) -> None:
        source = document.read_text("utf-8")
        policy = await parse_policy(parts, source)
        serving = {entry.id: entry for entry in await parts.policies.all()}
        match = None if if_match == "new" else if_match or (serving[policy.id].etag if policy.id in serving else None)
        entry = await apply_policy(parts, operator(), source, reason=reason, if_match=match)
        typer.echo(f"{entry.id}: version {entry.version} serves ({entry.etag}).")

    administer(work, detection=True)


@app.command()
def remove(policy_id: Annotated[str, typer.Argument(help="A policy in the store.")], reason: Reason = "") -> None:
    """Take a policy out of service. Its history stays, and `rollback` brings a version back."""

    async def work(parts: AdminParts) -> None:
        entry = await parts.policies.get(policy_id)
        await remove_policy(parts, operator(), policy_id, reason=reason, if_match=entry.etag)
        typer.echo(f"{policy_id} serves no more.")

    administer(work)


@app.command()
def history(policy_id: Annotated[str, typer.Argument(help="A policy in the store.")]) -> None:
    """Every version of a policy: who wrote it, when and why."""

    async def work(parts: AdminParts) -> None:
        table = Table("version", "applied (UTC)", "author", "reason", "etag")
        for entry in await parts.policies.history(policy_id):
            reason = f"(removed) {entry.reason}" if entry.removed else entry.reason
            table.add_row(str(entry.version), _utc(entry.unix_s), entry.author, reason, entry.etag)
        Console().print(table)

    administer(work)


@app.command()
def rollback(
    policy_id: Annotated[str, typer.Argument(help="A policy in the store.")],
    version: Annotated[int, typer.Argument(min=1, help="The version to go back to.")],
    reason: Reason = "",
) -> None:
    """Put an old version in force again, as a new one."""

    async def work(parts: AdminParts) -> None:
        entry = await rollback_policy(parts, operator(), policy_id, version, reason=reason)
        typer.echo(f"{entry.id}: version {entry.version} serves; it says what version {version} said.")

    administer(work, detection=True)


def _say_what_the_key_forbids(parts: AdminParts, record: KeyRecord, model: str) -> None:
    if (state := record.state(parts.keys.now())) != "active":
        typer.echo(f"The key is {state}: its requests are refused.")
    if not may(record.principal, Permission.INFER):
        typer.echo(f"The key's role is {record.role}: it administers, and its requests to a model are refused.")
    if not may_use(record.principal, model):
        typer.echo(f"The key may use {', '.join(record.models)} only: a request for {model} is refused.")


async def _source(parts: AdminParts, named: str) -> str:
    """The YAML of a file, else of a stored policy, else of a pack. Raises NotFound."""
    path = Path(named)
    if path.is_file():  # noqa: ASYNC240 - one small local file, in a command of one task
        return path.read_text("utf-8")  # noqa: ASYNC240
    stored = {entry.id: entry.source for entry in await parts.policies.all()}
    if named in stored:
        return stored[named]
    if named in pack_names():
        return pack_text(named)
    raise NotFound(f"There is no file, policy or pack {named!r}.")


def _beside(directory: Path, name: str) -> str | None:
    for path in (directory / f"{name}.yaml", directory / f"{name}.yml"):
        if path.is_file():
            return path.read_text("utf-8")
    return None


def _print_tried(name: str, text: str, tried: Tried) -> None:
    console = Console(soft_wrap=True)
    console.print(Text(name, style="bold"))
    table = Table("entity", "score", "action", "found at", "text")
    for found in tried.found:
        shown = Text(text[found.start : found.end], style="dim" if found.action is Action.ALLOW else "yellow")
        table.add_row(found.entity, f"{found.score:.2f}", found.action.value, f"{found.start}-{found.end}", shown)
    console.print(table)
    console.print(Text("refused: " + tried.refusal, style="red") if tried.refusal is not None else Text(tried.sent or ""))


def _serves(policy: Policy) -> str:
    parts = [
        f"{name} {', '.join(values)}"
        for name, values in (
            ("tenants", policy.match.tenants),
            ("keys", policy.match.keys),
            ("models", policy.match.models),
            ("paths", policy.match.paths),
        )
        if values
    ]
    return "serves " + ("; ".join(parts) or "what no other policy matches")


def _utc(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
