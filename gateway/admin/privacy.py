"""The rights of the persons whose data passes: erase what is kept, and report what is done.

What is kept of a person's data is the vault: values under a key per conversation, wrapped by a key that lives outside
the store. Erasing deletes the wrapped key and the sealed values and rewrites the append-only file. A backup of the store
that was taken before still holds both: retire the wrapping key (`llmos keyring retire`) to shred those too. The audit holds
no personal data of the persons in the texts, and is kept.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from gateway.admin.acting import acting
from gateway.admin.parts import AdminParts
from gateway.exchange import Principal
from gateway.pii.conversation import conversation_scope
from gateway.stores.policies import PolicyVersion
from policies.explain import explain
from policies.schema import Action


@dataclass(frozen=True, slots=True)
class Erased:
    """`compacted` says whether the append-only file was rewritten, so that nothing stays on the disk."""

    conversations: int
    compacted: bool


async def erase_conversation(
    parts: AdminParts, who: Principal, *, tenant: str, key_id: str, header: str, conversation_key: bytes
) -> Erased:
    """Erase the conversation that this key named in `X-LLMOS-Conversation`. Raises StoreUnavailable."""
    async with acting(parts, who, "privacy.erase_conversation", target=tenant, key_id=key_id) as learned:
        scope = conversation_scope(
            Principal(tenant, key_id), key=conversation_key, header=header, user=None, system_texts=(), first_user_texts=()
        )
        learned["conversations"] = erased = int(await parts.vault.forget(scope))
        return Erased(erased, await parts.vault_store.compact())


async def erase_tenant(parts: AdminParts, who: Principal, tenant: str) -> Erased:
    """Erase every conversation of a tenant, and its roster. Raises StoreUnavailable."""
    async with acting(parts, who, "privacy.erase_tenant", target=tenant) as learned:
        await parts.rosters.clear(tenant)
        learned["conversations"] = erased = await parts.vault.forget_tenant(tenant)
        return Erased(erased, await parts.vault_store.compact())


async def record_of_processing(parts: AdminParts, tenant: str, now: datetime.datetime) -> str:
    """What GDPR Art. 30(1) and PIPL Art. 54 to 56 ask to have on record, as Markdown, from the policies and the audit.

    The controller's name, the purposes and the legal basis are not known to a gateway; their lines are left to fill in.
    """
    serving = [e for e in await parts.policies.all() if not e.policy.match.tenants or tenant in e.policy.match.tenants]
    counts, requests, first, last = await _counted(parts, tenant)
    lines = [
        f"# Record of processing: {tenant}",
        "",
        f"Written {now:%Y-%m-%d %H:%M} UTC by LLMOS from the policies in force and the audit log.",
        "",
        "## To fill in (GDPR Art. 30(1)(a), (b); PIPL Art. 55, 56)",
        "",
        "- Controller, representative and data protection officer:",
        "- Purposes and legal basis:",
        "- Categories of data subjects:",
        "- Transfers to third countries (Art. 30(1)(e)), and their basis:",
        "",
        "## Categories of personal data, and what is done with them (Art. 30(1)(c))",
        "",
    ]
    for entry in serving:
        lines += _policy_lines(entry)
    lines += ["", "## Recipients (Art. 30(1)(d))", ""]
    targets = {entry.policy.routing.default for entry in serving} | {rule.to for entry in serving for rule in entry.policy.routing.rules}
    if "vllm" in targets:
        lines.append("- The operator of the model server: text after replacement, never the vault.")
    if "mpc" in targets:
        lines.append("- The operators of the two MPC parties: one secret share each; of the dealer: no text.")
    lines += ["", "## Storage limitation (Art. 30(1)(f))", ""]
    lines += [f"- {e.id}: the vault forgets a conversation {e.policy.retention.vault_ttl_s} s after its last use." for e in serving]
    lines += [
        "",
        "## Security measures (Art. 30(1)(g), Art. 32; PIPL Art. 51)",
        "",
        "- Pseudonymisation before text leaves the gateway; values sealed (AES-256-GCM-SIV) under a key per conversation.",
        "- API keys as keyed hashes; roles; limits; an audit log that is chained, signed and free of content.",
        "",
        "## What the audit counts",
        "",
        f"{requests} requests" + (f" from {_date(first)} to {_date(last)} (UTC)." if first and last else "."),
        "",
    ]
    if counts:
        lines += ["| entity | action | values |", "|---|---|---|"]
        lines += [f"| {entity} | {action} | {number} |" for (entity, action), number in sorted(counts.items())]
    return "\n".join(lines) + "\n"


def _policy_lines(entry: PolicyVersion) -> Sequence[str]:
    replaced = sorted(name for name, rule in entry.policy.entities.items() if rule.action is not Action.ALLOW)
    return [
        f"### Policy {entry.id}, version {entry.version}",
        "",
        f"{entry.policy.description}",
        "",
        f"Not sent as written: {', '.join(replaced) or 'nothing'}.",
        "",
        *(f"- {sentence}" for sentence in explain(entry.policy)),
        "",
    ]


async def _counted(parts: AdminParts, tenant: str) -> tuple[Counter[tuple[str, str]], int, float | None, float | None]:
    counts, requests, first, last = Counter[tuple[str, str]](), 0, None, None
    async for link in parts.audit.links(tenant):
        record = orjson.loads(link.record)
        if record.get("kind") != "outcome":
            continue
        requests += 1
        first, last = first or record["unix_s"], record["unix_s"]
        for name, number in (record.get("counts") or {}).items():
            entity, _, action = name.partition(":")
            counts[entity, action] += number
    return counts, requests, first, last


def _date(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC).strftime("%Y-%m-%d")
