"""Processes are killed and paused at random under load, and four promises hold: no planted value reaches a model server, every answer is
right or a typed error, every served answer stands in the audit, and no privacy budget is overspent. `make test-faults SECONDS=600` runs it
for ten minutes; the seed is fixed, what the machine makes of the moments is not.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import time

import pytest
from redis.asyncio import Redis

from gateway.audit.chain import AuditKeys
from gateway.audit.verify import verify_log
from gateway.dp.ledger import BudgetAccount
from gateway.pii.keyring import KeyRing
from gateway.stores.audit import ValkeyAudit
from gateway.stores.keys import ValkeyKeys
from gateway.stores.ledger import RedisLedger
from gateway.stores.policies import ValkeyPolicies
from tests.faults.callers import CANARIES, Callers
from tests.faults.rig import Gateway, Store, Upstream, await_true, running
from tests.faults.tiny_mpc import TinyMpc

SECONDS = float(os.environ.get("LLMOS_TEST_FAULT_SECONDS", "40"))
SEED = 20260801
RECOVERY_S = 90.0  # on two busy cores that also run the load, a worker and its detector take 10 to 40 s to start
EPSILON_EACH, EPSILON_BUDGET = 3.0, 36.0  # twelve private answers, and no more
PRIVATE = {
    "id": "private",
    "extends": "default",
    "match": {"tenants": ["private"]},
    "dp": {
        "mechanism": {
            "kind": "structured",
            "max_tokens": 60,
            "json_schema": {
                "type": "object",
                "properties": {
                    "score": {"type": "number", "minimum": 0, "maximum": 10, "x-dp": {"mechanism": "laplace", "epsilon": 2.0}},
                    "urgent": {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 1.0}},
                },
            },
        },
        "budget": {"epsilon": EPSILON_BUDGET},
    },
}


class Faults:
    """What may happen, each with its own end: a name, and the seconds after which all should be well again."""

    def __init__(self, store: Store, upstream: Upstream, mpc: TinyMpc, gateway: Gateway, dice: random.Random) -> None:
        self.store, self.upstream, self.mpc, self.gateway, self.dice = store, upstream, mpc, gateway, dice
        self.kills_of_workers = 0

    def happen(self) -> str:
        kind = self.dice.choice(
            [
                "store_kill",
                "store_pause",
                "upstream_kill",
                "upstream_pause",
                "detector_kill",
                "detector_pause",
                "worker_kill",
                "worker_pause",
                "mpc_kill",
                "mpc_pause",
            ]
        )
        getattr(self, f"_{kind}")()
        return kind

    def _store_kill(self) -> None:
        self.store.kill()
        time.sleep(self.dice.uniform(0.2, 2))
        self.store.start()

    def _store_pause(self) -> None:
        self._pause(self.store.pid, 3)

    def _upstream_kill(self) -> None:
        self.upstream.kill()
        time.sleep(self.dice.uniform(0.2, 2))
        self.upstream.start()

    def _upstream_pause(self) -> None:
        self._pause(self.upstream.pid, 3)

    def _detector_kill(self) -> None:
        self._signal(self.gateway.detectors(), signal.SIGKILL)

    def _detector_pause(self) -> None:
        self._signal(self.gateway.detectors(), signal.SIGSTOP)  # for good: the pool has to notice

    def _worker_kill(self) -> None:
        self.kills_of_workers += 1
        self._signal(self.gateway.workers(), signal.SIGKILL)

    def _worker_pause(self) -> None:
        self.kills_of_workers += 1
        self._signal(self.gateway.workers(), signal.SIGSTOP)  # for good: the parent has to notice

    def _mpc_kill(self) -> None:
        process = self.dice.choice(self.mpc.processes)  # the dealer or a party
        process.kill()
        time.sleep(self.dice.uniform(0.2, 2))
        process.start()

    def _mpc_pause(self) -> None:
        self._pause(self.dice.choice(self.mpc.processes).pid, 8)  # past the parties' own deadline of 5 s, or short of it

    def _signal(self, pids: list[int], number: int) -> None:
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.dice.choice(sorted(pids)), number)

    def _pause(self, pid: int, most_s: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.dice.uniform(0.5, most_s))
        os.kill(pid, signal.SIGCONT)


async def private_key(store: Store, gateway: Gateway) -> str:
    redis = Redis.from_url(store.url)
    try:
        await ValkeyPolicies(redis).apply(json.dumps(PRIVATE), author="test", reason="")
        ring = KeyRing.load(gateway.log.parent / "master.key")
        async with ValkeyKeys(redis, ring.index_key("api-keys")) as keys:
            text = "sk-llmos-private-0000"
            await keys.create(tenant="private", role="caller", label="test", created_by="test", text=text)
        return text
    finally:
        await redis.aclose()


async def audit_of(store: Store, gateway: Gateway) -> tuple[dict[str, set[str]], object, list]:
    """The kinds of record by request id, what the verification says, and the private account's balances."""
    redis = Redis.from_url(store.url)
    try:
        keys = AuditKeys.derive(KeyRing.load(gateway.log.parent / "master.key").index_key("audit"))
        audit, kinds, faults = ValkeyAudit(redis, keys), {}, []
        for tenant in await audit.tenants():
            async for link in audit.links(tenant):
                record = json.loads(link.record)
                kinds.setdefault(record.get("request_id", ""), set()).add(record["kind"])
            report = await verify_log(tenant, audit.links(tenant), await audit.heads(tenant), keys.public, keys.tenant_key(tenant))
            faults += [str(finding) for finding in report.findings if finding.fault != "unsigned_tail"]
        ledger, policies = RedisLedger(redis), ValkeyPolicies(redis)
        budget = (await policies.get("private")).policy.dp.budget if hasattr(policies, "get") else None
        accounts = [account for account in await ledger.accounts() if account.policy_id == "private"]
        balances = [await ledger.balance(BudgetAccount(a.tenant, a.key_id, a.policy_id), budget) for a in accounts] if budget else []
        return kinds, faults, balances
    finally:
        await redis.aclose()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
def test_no_fault_breaks_a_promise(tmp_path, deploy_tiny_mpc):
    for folder in ("upstream", "store"):
        (tmp_path / folder).mkdir()
    upstream, store = Upstream(tmp_path / "upstream", CANARIES), Store(tmp_path / "store")
    mpc = TinyMpc(deploy_tiny_mpc(tmp_path / "mpc"))
    gateway = Gateway(
        tmp_path / "data",
        upstream.url,
        workers=2,
        LLMOS_MPC_CONFIG=str(mpc.config),
        LLMOS_REDIS_URL=store.url,
        LLMOS_UPSTREAM_IDLE_TIMEOUT_S="10",
        LLMOS_DETECT_TIMEOUT_S="20",
    )
    dice = random.Random(SEED)
    with mpc.running(), running(store, upstream, gateway):
        key = asyncio.run(private_key(store, gateway))
        time.sleep(1.5)  # every worker follows the policies within a second
        faults, history = Faults(store, upstream, mpc, gateway, dice), []
        with Callers(gateway.url, gateway.environment["LLMOS_DEV_KEY"], key, mpc.answers(), count=5, seed=SEED) as callers:
            tally = callers.tally
            await_true(lambda: tally.right > 5 and tally.secret_shared > 2, 180, "nothing is served before the first fault")
            end_s = time.monotonic() + SECONDS
            while time.monotonic() < end_s:
                kind = faults.happen()
                counter = "secret_shared" if kind.startswith("mpc") else "right"
                mended_s, served = time.monotonic(), getattr(tally, counter)
                await_true(lambda of=counter, was=served: getattr(tally, of) > was, RECOVERY_S, f"nothing is served after {kind}")
                history.append((kind, time.monotonic() - mended_s))
                time.sleep(dice.uniform(0.5, 2))
        await_true(lambda: gateway.answers("/readyz"), RECOVERY_S, "not ready at the end")
        kinds, broken, balances = asyncio.run(audit_of(store, gateway))
        end_s = time.monotonic() + 30  # the spools are replayed within a second of the store's return
        while time.monotonic() < end_s and any("outcome" not in kinds.get(each, ()) for each in tally.served_ids):
            time.sleep(1)
            kinds, broken, balances = asyncio.run(audit_of(store, gateway))
        status = gateway.stop()
    without_admission = [each for each in tally.served_ids if "admission" not in kinds.get(each, ())]
    without_outcome = [each for each in tally.served_ids if "outcome" not in kinds.get(each, ())]
    slowest = {kind: max(s for k, s in history if k == kind) for kind, _ in history}
    print(
        f"\n{SECONDS:.0f} s, {len(history)} faults { ({k: sum(1 for x, _ in history if x == k) for k in slowest}) }; right {tally.right}, "
        f"on secret shares {tally.secret_shared}, private {tally.private}, refused {tally.refused}, cut {tally.cut}; "
        f"upstream saw {upstream.seen()} requests; "
        f"slowest recovery by fault in s { {kind: round(s, 1) for kind, s in slowest.items()} }; outcomes missing {len(without_outcome)}"
    )
    assert not upstream.violations(), "a planted value reached the model server"
    for log in (*mpc.logs, gateway.log, store.log):
        text = log.read_text(errors="replace")
        assert not [canary for canary in CANARIES if canary in text], f"a planted value stands in {log.name}"
    assert not tally.wrong, tally.wrong[:5]
    assert not without_admission, f"{len(without_admission)} served answers have no admission record"
    assert len(without_outcome) <= faults.kills_of_workers, "an answer was served, its worker not killed, and it has no outcome record"
    assert not broken, broken
    assert tally.private * EPSILON_EACH <= EPSILON_BUDGET + 1e-9, "the privacy budget was overspent"
    assert all(spent <= cap for balance in balances for spent, cap in zip(balance.spent, balance.caps, strict=True))
    assert tally.cut == 0 or faults.kills_of_workers, "a connection broke, and no worker was killed"
    assert status == 0
