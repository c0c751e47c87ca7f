"""How long one transaction takes to the log, and how many fit through in a second."""

import time
from collections.abc import Sequence

import trio

from devnet.bench.figures import Figure, Report, percentile
from devnet.bench.replicas import running_replicas
from devnet.daemon import Daemon
from flocknode.keystore import load_account_seed, load_public_keys
from flocknode.rpc.chain_records import ChainParams
from flocknode.rpc.client import RpcClient, open_client
from flocknode.rpc.records import Account, ChainHead, Outcome
from protocol.codec import encode
from protocol.transactions import Transfer, open_transaction, sign_transaction

REPLICAS = 4
LONE_TRANSACTIONS = 60
# Between two lone transactions the chain comes to rest.
REST_S = 0.5
TRANSFERS = 8_000
# Every transfer is checked by every replica, and the machine has so many cores.
CORES = 2
# A mempool takes 256 waiting transactions of one account, so that many and no more are sent ahead of the log.
WINDOW = 200
# What travels in one batch of RPC.
STEP = 25
POLL_S = 0.02


async def bench_commit() -> Report:
    """Measure the time from sending a lone transfer over RPC to the answer that it is in a block."""
    latencies: list[float] = []
    async with running_replicas(REPLICAS) as daemons, open_client(daemons[0].home) as client:
        receiver = load_public_keys(daemons[1].home).account.hex()
        for _ in range(LONE_TRANSACTIONS):
            await trio.sleep(REST_S)
            began = time.perf_counter()
            outcome = await client.call("tx.transfer", Outcome, to=receiver, amount_units=1)
            assert outcome.status == "included", outcome
            latencies.append(1000 * (time.perf_counter() - began))
    return Report(
        bench="commit",
        conditions=f"{REPLICAS} replicas on this machine, {LONE_TRANSACTIONS} lone transfers over RPC",
        figures=(
            Figure(name="latency p50", value=percentile(latencies, 50), unit="ms", goal="at most 100"),
            Figure(name="latency p99", value=percentile(latencies, 99), unit="ms"),
        ),
    )


async def bench_transfers() -> Report:
    """Measure sustained transfers a second, beside what checking their signatures alone would allow."""
    async with running_replicas(REPLICAS) as daemons:
        chain, fee, prepared = await prepare_transfers(daemons)
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for daemon, transactions in zip(daemons, prepared, strict=True):
                nursery.start_soon(push, daemon, transactions)
        rate = TRANSFERS / (time.perf_counter() - began)
    bound = measure_check_rate(chain, prepared[0]) * CORES / REPLICAS
    return Report(
        bench="transfers",
        conditions=f"{TRANSFERS} transfers of {REPLICAS} accounts through {REPLICAS} replicas, fee {fee} units",
        figures=(
            Figure(name="sustained", value=rate, unit="transfers/s"),
            Figure(name="bound of signature checks", value=bound, unit="transfers/s"),
            Figure(name="ratio", value=rate / bound, unit=""),
        ),
    )


async def prepare_transfers(daemons: Sequence[Daemon]) -> tuple[bytes, int, list[list[bytes]]]:
    """Return the chain, the fee, and the signed transfers of each daemon's account to its neighbour."""
    async with open_client(daemons[0].home) as client:
        head = await client.call("chain.head", ChainHead)
        fee = (await client.call("chain.params", ChainParams)).parameters["fee_floor_units"]
    chain, expires = bytes.fromhex(head.chain), head.height + 900
    addresses = [load_public_keys(daemon.home).account for daemon in daemons]
    prepared = [
        [
            encode(sign_transaction(chain, seed, Transfer(receiver, 1), nonce=nonce, expires=expires, fee=fee))
            for nonce in range(TRANSFERS // len(daemons))
        ]
        for seed, receiver in zip(
            [load_account_seed(daemon.home, None) for daemon in daemons], addresses[1:] + addresses[:1], strict=True
        )
    ]
    return chain, fee, prepared


async def push(daemon: Daemon, transactions: Sequence[bytes]) -> None:
    """Send transactions as fast as the daemon's mempool takes those of one account."""
    async with open_client(daemon.home) as client:
        for first in range(0, len(transactions), STEP):
            await wait_for_nonce(client, first - WINDOW)
            batch = [{"transaction": data.hex(), "wait": False} for data in transactions[first : first + STEP]]
            await client.call_all("tx.submit", Outcome, batch)
        await wait_for_nonce(client, len(transactions))


async def wait_for_nonce(client: RpcClient, nonce: int) -> None:
    """Return once so many transactions of a daemon's account are on the log."""
    while (await client.call("account.show", Account)).nonce < nonce:  # noqa: ASYNC110 - another process decides
        await trio.sleep(POLL_S)


def measure_check_rate(chain: bytes, transactions: Sequence[bytes]) -> float:
    """Return how many transactions a second one core opens: decoded, with their signatures checked."""
    began = time.perf_counter()
    for data in transactions:
        open_transaction(chain, data)
    return len(transactions) / (time.perf_counter() - began)
