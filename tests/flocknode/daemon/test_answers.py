"""What a real daemon answers: to a client that is not ours, to whoever sends transactions, to readers that resume."""

import json
import socket

import pytest
import trio
from jsonrpcclient import Error, Ok, notification, parse, request

from flocknode.founding import create_home, load_document
from flocknode.home import Home
from flocknode.keystore import load_account_seed
from flocknode.rpc.arena_records import Submitted
from flocknode.rpc.client import open_client
from flocknode.rpc.jsonrpc import RpcError
from flocknode.rpc.records import Account, NodeStatus, Outcome
from protocol.codec import encode
from protocol.genesis import genesis_digest
from protocol.transactions import Transfer, sign_transaction

BOB = "0b" * 32


async def test_a_client_that_is_not_ours(daemon):
    """`jsonrpcclient` over a plain socket: results, errors with data, notifications, a batch, a subscription."""
    await trio.to_thread.run_sync(daemon.start)

    def talk():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(str(daemon.home.find_socket()))
            with connection.makefile("rwb") as file:

                def send(message):
                    file.write(json.dumps(message).encode() + b"\n")
                    file.flush()

                def receive():
                    return parse(json.loads(file.readline()))

                send(request("chain.head"))
                head = receive()
                assert isinstance(head, Ok)
                send(request("chain.block", params={"height": head.result["height"] + 1000}))
                error = receive()
                assert isinstance(error, Error)
                assert error.data["kind"] == "NotFound"
                assert error.data.keys() >= {"kind", "have", "need", "help"}
                send(request("no.such"))
                assert receive().code == -32601
                send([request("node.status"), notification("chain.head"), request("chain.supply")])
                answers = list(receive())
                assert [type(answer) for answer in answers] == [Ok, Ok]
                send(request("rpc.discover"))
                assert receive().result["openrpc"] == "1.3.2"
                send(request("events.subscribe", params={"topics": ["blocks"], "from_height": 1}))
                assert isinstance(receive(), Ok)
                event = json.loads(file.readline())
                assert (event["method"], event["params"]["event"]["height"]) == ("events.event", 1)

    await trio.to_thread.run_sync(talk)


async def test_every_transaction_gets_an_honest_answer(daemon):
    """Included, failed in its block, refused at once, expired: each is said, at once or later."""
    await trio.to_thread.run_sync(daemon.start, "--passphrase-file", str(daemon.passphrase_file))
    seed = load_account_seed(daemon.home, daemon.passphrase)
    chain = genesis_digest(load_document(daemon.home.genesis_file))
    async with open_client(daemon.home) as client:

        async def sign(nonce_ahead=0, units=1, expires_ahead=3, fee=10**7):
            account = await client.call("account.show", Account)
            head = await client.call("chain.head")
            signed = sign_transaction(
                chain,
                seed,
                Transfer(bytes.fromhex(BOB), units),
                nonce=account.nonce + nonce_ahead,
                expires=head["height"] + expires_ahead,
                fee=fee,
            )
            return encode(signed).hex()

        async def submit(transaction, **params):
            return await client.call("tx.submit", Outcome, transaction=transaction, **params)

        included = await submit(await sign())
        assert (included.status, included.error) == ("included", 0)
        failed = await submit(await sign(units=2**60))
        assert (failed.status, failed.error, failed.message != "") == ("failed", 34, True)
        for wrong, kind in ((await sign(fee=0), "FeeTooLow"), (await sign(expires_ahead=10**9), "Expired")):
            with pytest.raises(RpcError) as caught:
                await submit(wrong)
            assert caught.value.kind == kind

        # Behind a nonce that never comes: it waits, and then is told that it never will be included.
        stuck = await submit(await sign(nonce_ahead=3), wait=False)
        assert stuck.status == "pending"
        answers = []

        async def wait():
            answers.append(await client.call("tx.wait", Outcome, id=stuck.id, expiry_height=stuck.expiry_height))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            for _ in range(3):
                await submit(await sign(), wait=True)
        assert answers[0].status == "expired"
        assert (await client.call("tx.wait", Outcome, id=included.id)).status == "included"
        unknown = await client.call("tx.wait", Outcome, id="ee" * 32)
        assert unknown.status == "expired"


async def test_steps_of_rounds_and_comings_and_goings_are_told(daemon, make_daemon, tmp_path):
    """Each step of the consensus is an event, and so is each peer that is connected or lost."""
    await trio.to_thread.run_sync(daemon.start, "--passphrase-file", str(daemon.passphrase_file))
    follower = make_daemon(Home(tmp_path / "bob"))
    async with open_client(daemon.home) as client:
        address = (await client.call("node.status", NodeStatus)).address
        create_home(
            follower.home,
            genesis=daemon.home.genesis_file,
            port=None,
            bootstrap=(address,),
            name=None,
            passphrase=None,
        )
        rounds = await client.subscribe(["rounds"], from_height=1)
        await client.call("tx.transfer", Outcome, to=BOB, amount_units=1)
        heights = []
        with trio.fail_after(30):
            while 2 not in heights:
                heights.append((await rounds.receive()).event["height"])
            peers = await client.subscribe(["peers"])
            await trio.to_thread.run_sync(follower.start)
            try:
                joined = (await peers.receive()).event
            finally:
                follower.process.kill()
                follower.process.wait()
            left = (await peers.receive()).event
    assert (joined["change"], joined["peers"]) == ("joined", 1)
    assert (left["change"], left["peer"], left["peers"]) == ("left", joined["peer"], 0)


async def create_task(client, daemon):
    """Create a task that nobody will join."""
    data = str(daemon.home.config_file)
    return await client.call(
        "arena.create",
        Submitted,
        name="x",
        family="linear",
        model={"inputs": [4], "outputs": [2]},
        metric="accuracy",
        dataset_a=data,
        dataset_b=data,
        epochs=2,
        escrow_units=10**9,
        measure_baseline=False,
    )


async def test_a_reader_resumes_over_a_restart(daemon):
    """Blocks, rounds, tasks and log lines go on where the reader stopped, although the daemon was stopped."""
    await trio.to_thread.run_sync(daemon.start, "--passphrase-file", str(daemon.passphrase_file))
    async with open_client(daemon.home) as client:
        blocks, lines = await client.subscribe(["blocks"], from_height=1), await client.subscribe(["logs"], from_line=1)
        await client.call("tx.transfer", Outcome, to=BOB, amount_units=1)
        created = await create_task(client, daemon)
        height = (await blocks.receive()).event["height"]
        number = (await lines.receive()).event["number"]
    assert (height, number) == (1, 1)
    await trio.to_thread.run_sync(daemon.stop)
    await trio.to_thread.run_sync(daemon.start)
    async with open_client(daemon.home) as client:
        head = (await client.call("chain.head"))["height"]
        assert head >= 2
        blocks = await client.subscribe(["blocks"], from_height=2)
        assert [(await blocks.receive()).event["height"] for _ in range(2, head + 1)] == list(range(2, head + 1))
        steps = await client.subscribe(["rounds"], from_height=1)
        assert [(await steps.receive()).event["height"] for _ in range(2)] == [1, 2]
        tasks = await client.subscribe(["tasks"], from_height=1)
        opened = (await tasks.receive()).event
        assert (opened["height"], opened["index"], opened["phase"]) == (created.outcome.height, 0, "opening")
        lines, events = await client.subscribe(["logs"], from_line=2), []
        while "started" not in events:
            line = (await lines.receive()).event
            events.append(line["event"])
            assert line["number"] == len(events) + 1
        assert "stopped" in events, "the lines of the first run come before those of the second"
