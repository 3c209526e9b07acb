"""One replica of the gateway, as far as the ledger sees it: `python replica.py SOCKET TENANT EPSILON WAYS`.

It waits for a line on its input, so that all replicas begin at once. It reserves 0.5 until it is refused, and does with each reservation
what the next word of WAYS says: `settle` (for 0.25), `keep` (a crash before the settlement leaves it so), or `die` (by SIGKILL, in the
middle). It prints the word of each reservation that it was given.
"""

import asyncio
import itertools
import os
import signal
import sys
import uuid

from redis.asyncio import Redis

from gateway.dp.ledger import BudgetAccount
from gateway.dp.loss import Loss
from gateway.errors import BudgetExceeded
from gateway.stores.ledger import RedisLedger
from policies.dp import Budget, Window


async def run(socket: str, tenant: str, epsilon: float, ways: list[str]) -> None:
    redis = Redis(unix_socket_path=socket)
    ledger, account = RedisLedger(redis), BudgetAccount(tenant, "k", "p")
    budget = Budget(epsilon=epsilon, window=Window(kind="rolling", seconds=86_400))
    await redis.ping()
    print("ready", flush=True)
    sys.stdin.readline()
    for way in itertools.cycle(ways):
        name = uuid.uuid4().hex
        try:
            await ledger.reserve(account, budget, name, Loss(epsilon=0.5))
        except BudgetExceeded:
            break
        print(way, flush=True)
        if way == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "settle":
            await ledger.settle(account, budget, name, Loss(epsilon=0.25))
    await redis.aclose()


asyncio.run(run(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4].split(",")))
