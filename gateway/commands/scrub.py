"""Scrub text from a file or standard input to standard output, without a gateway.

Detection and replacement are those of the gateway, under a policy of the packs or of a file. The keys are made for this run and
forgotten: the same value has the same stand-in throughout the run, and nothing can be restored afterwards.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.asyncio import Redis

from gateway.errors import BadRequest, LlmosError
from gateway.exchange import ConversationScope, Span
from gateway.fields.kinds import AnyJson, Reading
from gateway.fields.leaves import Leaves
from gateway.pii.lean_imports import without_training_libraries
from gateway.ports import Replaced
from gateway.serving.valkey import EmbeddedValkey
from policies.load import PolicyError, load_pack, load_policy, pack_names
from policies.schema import Policy

app = typer.Typer(help=__doc__)
EXIT_FAILED = 1
_KEPT_FIELDS = frozenset({"role", "type", "id", "tool_call_id", "subject_id"})  # structure of chat examples
_LINES_AT_ONCE = 64


@app.command()
def scrub(
    file: Annotated[Path | None, typer.Argument(help="The file to read. [default: standard input]")] = None,
    policy: Annotated[str, typer.Option(help="A pack's name, or a policy file.")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Give the scrubbed text and the spans found, as JSON.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Read JSON lines and scrub every string in them but roles and ids.")] = False,
) -> None:
    """Scrub text from a file or standard input to standard output.

    The span offsets of --json count characters of the input; what stood there is not repeated.
    """
    try:
        raw = file.read_bytes() if file else sys.stdin.buffer.read()
        text = raw.decode("utf-8")
        chosen = read_policy(policy)
        if jsonl:
            asyncio.run(_scrub_lines(text, chosen))
            return
        replaced, spans = asyncio.run(_scrub_text(text, chosen))
    except OSError as error:
        typer.echo(f"llmos: {file} can't be read: {error.strerror}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    except UnicodeDecodeError:
        typer.echo("llmos: the input is not UTF-8", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    except (LlmosError, PolicyError) as error:
        typer.echo(f"llmos: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    if as_json:
        found = [{"start": s.start, "end": s.end, "entity": s.entity, "score": round(s.score, 3)} for s in spans]
        typer.echo(json.dumps({"text": replaced.texts[0], "spans": found}, ensure_ascii=False))
    else:
        sys.stdout.write(replaced.texts[0])


def read_policy(name: str) -> Policy:
    """A pack, or the policy in a file. Raises PolicyError."""
    path = Path(name)
    if name in pack_names():
        return load_pack(name)
    if not path.exists():
        raise PolicyError(f"{name!r} is neither a pack ({', '.join(pack_names())}) nor a file")
    return load_policy(path.read_text("utf-8"))


class Scrubber:
    """Detection and pseudonyms for one run, over a Valkey of its own. Use as an async context manager."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._scope = ConversationScope(tenant="local", key_id="scrub", conversation_id="run")
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Scrubber:
        without_training_libraries()
        from gateway.pii.detector_pool import DetectorPool
        from gateway.pii.keyring import KeyRing
        from gateway.pii.pseudonyms import ConversationPseudonyms
        from gateway.pii.vault import Vault
        from gateway.stores.vault import RedisVaultStore

        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="llmos-scrub-")))
        valkey = self._stack.enter_context(EmbeddedValkey(directory))
        redis = Redis.from_url(valkey.url)
        self._stack.push_async_callback(redis.aclose)
        self._pool = DetectorPool(1, timeout_s=600.0)
        self._stack.push_async_callback(self._pool.stop)
        await self._pool.start()
        ring = KeyRing.generate()
        self._pseudonyms = ConversationPseudonyms(Vault(RedisVaultStore(redis), ring), ring)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def scrub(self, leaves: Leaves) -> tuple[Replaced, list[tuple[Span, ...]]]:
        """The replaced texts and the spans found. Raises LlmosError."""
        spans = leaves.without_context(await self._pool.detect(leaves.detection_texts(), self._policy))
        return await self._pseudonyms.replace(self._scope, leaves.texts, spans, self._policy), spans


async def _scrub_text(text: str, policy: Policy) -> tuple[Replaced, Sequence[Span]]:
    leaves = Leaves()
    leaves.add([text], 0, text)
    async with Scrubber(policy) as scrubber:
        replaced, spans = await scrubber.scrub(leaves)
    return replaced, spans[0]


async def _scrub_lines(text: str, policy: Policy) -> None:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    async with Scrubber(policy) as scrubber:
        for begin in range(0, len(lines), _LINES_AT_ONCE):
            leaves, values = Leaves(), []
            for number, line in lines[begin : begin + _LINES_AT_ONCE]:
                values.append(_read_line(number, line, leaves))
            replaced, _ = await scrubber.scrub(leaves)
            leaves.fill(replaced.texts)
            for (value,) in values:
                typer.echo(json.dumps(value, ensure_ascii=False))


def _read_line(number: int, line: str, leaves: Leaves) -> list[Any]:
    try:
        value = json.loads(line)
    except ValueError:
        raise BadRequest(f"Line {number} is not JSON.") from None
    holder: list[Any] = [None]
    AnyJson(kept=_KEPT_FIELDS).read(holder, 0, value, f"line {number}", Reading(leaves))
    return holder
