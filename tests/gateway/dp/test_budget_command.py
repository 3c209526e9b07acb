"""`llmos budget` on a real store: what it shows, changes and refuses."""

import uuid

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from gateway.commands.budget import app
from gateway.dp.ledger import BudgetAccount
from gateway.dp.loss import Loss
from gateway.stores.ledger import RedisLedger
from gateway.stores.policies import ValkeyPolicies
from policies.dp import Budget

POLICY = """
id: {id}
match: {{tenants: [{tenant}]}}
entities: {{}}
dp:
  mechanism: {{kind: token, clip: 4.0, temperature: 1.0, max_tokens: 10}}
  budget: {{epsilon: 10.0}}
"""


@pytest.fixture
async def policy_id(redis: Redis, tenant: str) -> str:
    name = f"p-{uuid.uuid4().hex[:8]}"
    await ValkeyPolicies(redis).apply(POLICY.format(id=name, tenant=tenant), author="test", reason="")
    account = BudgetAccount(tenant, "k1", name)
    await RedisLedger(redis).reserve(account, Budget(epsilon=10.0), "r1", Loss(epsilon=4.0))
    return name


async def run(valkey_socket: str, *arguments: str) -> tuple[int, str]:
    import asyncio

    result = await asyncio.to_thread(
        CliRunner().invoke, app, list(arguments), env={"LLMOS_REDIS_URL": f"unix://{valkey_socket}", "COLUMNS": "200"}
    )
    return result.exit_code, result.output


async def test_show_set_history(valkey_socket: str, policy_id: str, tenant: str) -> None:
    code, text = await run(valkey_socket, "show", "--policy", policy_id)
    assert code == 0
    row = next(line for line in text.splitlines() if policy_id in line)
    assert [cell.strip() for cell in row.strip("│┃ ").split("│")][3:6] == ["4", "6", "4"]
    code, text = await run(valkey_socket, "set", tenant, "k1", policy_id, "--epsilon", "5")
    assert (code, "left 1" in text) == (0, True)
    code, text = await run(valkey_socket, "set", tenant, "k1", policy_id, "--reset")
    assert (code, "left 6" in text) == (0, True)
    code, text = await run(valkey_socket, "history", "--policy", policy_id)
    assert code == 0
    assert policy_id in text


async def test_forecast(valkey_socket: str, policy_id: str) -> None:
    code, text = await run(valkey_socket, "forecast", policy_id, "--requests", "3", "--tokens", "1")
    assert code == 0
    assert [line.split("│")[2].strip() for line in text.splitlines() if "basic" in line and "│" in line] == ["24"]
    assert "admits 1 such answers" in text
    assert (await run(valkey_socket, "forecast", "no-such-policy"))[0] == 1


async def test_wrong_changes_are_refused(valkey_socket: str, policy_id: str, tenant: str) -> None:
    assert (await run(valkey_socket, "set", tenant, "k1", policy_id))[0] == 2
    assert (await run(valkey_socket, "set", tenant, "k1", policy_id, "--epsilon", "-1"))[0] == 1
    assert (await run(valkey_socket, "set", tenant, "k1", "no-such-policy", "--epsilon", "1"))[0] == 1
