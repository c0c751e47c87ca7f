"""A small node behind a real socket, with an answer for every method, and the command line as a real process."""

import os
import sys
from functools import partial

import pytest
import structlog
import trio

from flocknode import logs, sealed_key
from flocknode.cli import app
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.home import Home
from flocknode.rpc import chain_records as c
from flocknode.rpc import records as r
from flocknode.rpc.events import EventHub, make_log_methods
from flocknode.rpc.server import RpcServer
from protocol.errors import InsufficientFunds, NotFound
from tests.dataset_files import write_dataset
from tests.flocknode.cli.alliance_answers import AllianceAnswers
from tests.flocknode.cli.arena_answers import NOW_MS, ArenaAnswers
from tests.flocknode.cli.audit_answers import AuditAnswers


class Node(ArenaAnswers, AllianceAnswers, AuditAnswers):
    """Handlers that answer with fixed records, about the accounts of a real genesis document."""

    def __init__(self, homes):
        self.home = homes[0]
        self.calls = []
        document = make_genesis(homes, preset="devnet", name="t", balance_units=10**12, bond_units=10**12)
        save_document(self.home.genesis_file, document)
        self.alice, self.bob = (account.address.hex() for account in document.accounts)
        self.keys = [replica.key.hex() for replica in document.replicas]
        self.outcome_status = "included"
        self.stopped = trio.Event()
        self.hub = EventHub()
        self.subscribed = trio.Event()
        subscribe = self.hub.subscribe
        self.hub.subscribe = lambda *topics, **start: (self.subscribed.set(), subscribe(*topics, **start))[1]

    def handlers(self):
        """Return the method table."""
        return {
            "node.status": self.status,
            "node.peers": self.peers,
            "node.work": self.work,
            "node.stop": self.stop,
            "keys.unlock": self.unlock,
            "keys.lock": self.lock,
            "account.show": self.account,
            "account.recognise": self.recognise,
            "account.list": self.accounts,
            "tx.transfer": self.transfer,
            "tx.submit": self.submit_raw,
            "tx.show": self.transaction,
            "tx.wait": self.wait_for,
            "chain.head": self.head,
            "chain.block": self.block,
            "chain.headers": self.headers,
            "chain.params": self.params,
            "chain.supply": self.supply,
            "arena.create": self.create,
            "arena.join": self.join,
            "arena.submit": self.submit,
            "arena.leave": self.leave,
            "arena.complain": self.complain,
            "arena.publish_key": self.publish_key,
            "arena.prove_piece": self.prove_piece,
            "arena.prove_verdict": self.prove_verdict,
            "arena.delegate": self.delegate,
            "arena.undelegate": self.undelegate,
            "arena.reward_share": self.reward_share,
            "arena.bounty": self.bounty,
            "arena.cancel": self.cancel,
            "arena.verify": self.verify,
            "arena.list": self.tasks,
            "arena.show": self.task,
            "arena.submissions": self.submissions,
            "arena.scores": self.scores,
            "arena.leaderboard": self.leaderboard,
            "arena.training": self.trainings,
            "arena.audit": self.audit,
            "arena.explain": self.explain,
            **self.alliance_handlers(),
        }

    async def status(self) -> r.NodeStatus:
        """How the node is doing."""
        return r.NodeStatus(
            name="alice",
            version="0.1.0",
            pid=os.getpid(),
            home=str(self.home.path),
            started_ms=NOW_MS,
            chain="0c" * 32,
            peer="12D3Koo",
            address="/ip4/127.0.0.1/tcp/4001/p2p/12D3Koo",
            account=self.alice,
            is_locked=False,
            consensus_key=self.keys[0],
            is_replica=True,
            is_catching_up=False,
            height=42,
            block="b1" * 32,
            state_root="5a" * 32,
            time_ms=NOW_MS,
            round=2,
            peers=1,
            pending_transactions=3,
            worker="idle",
            relaying="nothing to send",
            cause="waiting  height 43 r2  power online 50 % (need > 66.7 %)  missing bob",
        )

    async def peers(self) -> r.PeerList:
        """The peers."""
        peer = r.Peer(
            peer="12D3KooWJWoaqZhD",
            address="/ip4/127.0.0.1/tcp/4002/p2p/12D3KooWJWoaqZhD",
            is_outbound=True,
            consensus_key=self.keys[1],
            height=41,
            connected_ms=NOW_MS,
            messages_sent=7,
            messages_received=8,
            bytes_sent=700,
            bytes_received=800,
            duplicates=3,
            dropped=2,
            latency_us=1_234,
            score=75,
        )
        refused = r.RefusedPeer(peer="12D3KooWxyzxyzxy", reason="garbage", seconds=42)
        return r.PeerList(peers=(peer,), refused=(refused,))

    async def work(self) -> r.WorkList:
        """Long work."""
        return r.WorkList(works=(self.training(),))

    def training(self, **changes):
        """Return a training that is half done."""
        half = {"state": "running", "done": 10, "total": 20, "elapsed_ms": 5_000, "left_ms": 5_000}
        common = {"work": 1, "kind": "training", "subject": "task 7 digits", "unit": "passes"}
        return r.WorkEvent(rate_millionths=2_000_000, **{**common, **half, **changes})

    async def unlock(self, *, passphrase: str) -> r.Unlocked:
        """Open the key."""
        self.calls.append(passphrase)
        return r.Unlocked(account=self.alice)

    async def lock(self) -> r.Locked:
        """Forget the key."""
        self.calls.append("lock")
        return r.Locked(account=self.alice)

    async def wait_for(self, *, id: r.Hex32, expiry_height: r.Count | None = None) -> r.Outcome:
        """Wait."""
        self.calls.append((id, expiry_height))
        return self.outcome()

    async def headers(self, *, from_height: r.Count | None = None, limit: r.Count = 20) -> c.HeaderList:
        """Headers."""
        hashes = {"block": "b1" * 32, "previous_block": "b0" * 32, "state_root": "5a" * 32}
        header = c.Header(height=42, time_ms=NOW_MS, round=0, proposer=self.keys[1], transactions=3, **hashes)
        return c.HeaderList(headers=(header,))

    async def stop(self) -> r.Stopping:
        """Stop; the process that is waited for has ended already."""
        self.stopped.set()
        return r.Stopping(pid=2**22 - 1)

    async def recognise(self, *, address: r.Hex32, wait: bool = True) -> r.Outcome:
        """Recognise."""
        self.calls.append((address, "recognise"))
        return self.outcome()

    async def account(self, *, address: r.Hex32 | None = None) -> r.Account:
        """An account."""
        return r.Account(
            address=address or self.alice,
            nonce=4,
            balance_units=1_500_000_001,
            bonded_units=10**12,
            staked_units=0,
            delegated_units=3 * 10**9,
            unbonding_units=5 * 10**8,
            has_record=True,
            is_recognised=True,
            delegations=(
                r.Delegation(
                    task=7,
                    name="digits",
                    operator=self.bob,
                    shares=2 * 10**9,
                    leaving_shares=0,
                    worth_units=25 * 10**8,
                    waiting_units=5 * 10**8,
                ),
            ),
        )

    async def accounts(self, *, after: r.Hex32 | None = None, limit: r.Count = 100) -> r.AccountList:
        """All accounts."""
        found = [await self.account(address=address) for address in sorted((self.alice, self.bob))]
        return r.AccountList(height=1, accounts=tuple(found[:limit]), next=found[limit].address if limit < 2 else None)

    async def transfer(
        self, *, to: r.Hex32, amount_units: r.Units, fee_units: r.Units | None = None, wait: bool = True
    ) -> r.Outcome:
        """Move units."""
        self.calls.append((to, amount_units, fee_units, wait))
        if amount_units > 10**12:
            raise InsufficientFunds("the balance does not cover it", have=10**12, need=amount_units)
        return self.outcome()

    def outcome(self):
        """Return what becomes of every transaction."""
        return r.Outcome(
            id="1d" * 32,
            status=self.outcome_status,
            height=None if self.outcome_status in ("pending", "expired") else 43,
            expiry_height=143,
            error=34 if self.outcome_status == "failed" else 0,
            message="the balance does not cover it" if self.outcome_status == "failed" else "",
        )

    async def submit_raw(self, *, transaction: r.Hex, wait: bool = True) -> r.Outcome:
        """Send raw bytes."""
        return self.outcome()

    async def transaction(self, *, id: r.Hex32) -> r.Transaction:
        """A transaction."""
        return r.Transaction(
            id=id,
            kind="transfer",
            status="failed",
            sender=self.alice,
            nonce=3,
            fee_units=10**6,
            expiry_height=143,
            height=43,
            index=0,
            error=34,
            message="too little",
            size_bytes=200,
            fields={"to": self.bob, "units": 25 * 10**8, "salt": "ab" * 200},
        )

    async def head(self) -> r.ChainHead:
        """The head."""
        roots = {"state_root": "5a" * 32, "receipts_root": "5b" * 32}
        return r.ChainHead(chain="0c" * 32, height=42, block="b1" * 32, time_ms=NOW_MS, **roots)

    async def block(self, *, height: r.Count | None = None) -> r.Block:
        """A block."""
        if height is not None and height > 42:
            raise NotFound("there is no block 99 yet", head=42)
        sent = r.BlockTransaction(id="1d" * 32, kind="transfer", sender=self.alice, error=0, message="")
        return r.Block(
            height=height or 42,
            block="b1" * 32,
            time_ms=NOW_MS,
            round=0,
            commit_round=1,
            proposer=self.keys[1],
            previous_block="b0" * 32,
            transactions_root="5c" * 32,
            state_root="5a" * 32,
            receipts_root="5b" * 32,
            size_bytes=900,
            transactions=(sent,),
            signers=(
                r.Signer(consensus_key=self.keys[0], power=3 * 10**9, has_signed=True),
                r.Signer(consensus_key=self.keys[1], power=10**9, has_signed=False),
            ),
        )

    async def params(self) -> c.ChainParams:
        """The parameters."""
        return c.ChainParams(
            height=42, governance=self.bob, parameters={"fee_floor_units": 10**6, "task": {"seats": [1, 2]}}
        )

    async def supply(self) -> c.Supply:
        """The supply."""
        amounts = {"genesis_units": 4 * 10**12, "minted_units": 0, "burned_units": 10**8}
        total = 4 * 10**12 - 10**8
        emission = c.Emission(period=3, next_ms=NOW_MS, next_units=900 * 10**9)
        return c.Supply(height=42, **amounts, total_units=total, places={"balances": total}, emission=emission)


@pytest.fixture
async def node(tmp_path, nursery):
    """A node that answers on the socket of its home until it is stopped."""
    homes = [Home(tmp_path / "alice"), Home(tmp_path / "bob")]
    for home in homes:
        create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
    node = Node(homes)
    output = logs.configure(level="info", file=node.home.log_file, listener=partial(node.hub.publish, "logs"))
    node.hub.histories["logs"] = output
    methods = {**node.handlers(), **make_log_methods(output)}

    async def serve(task_status=trio.TASK_STATUS_IGNORED):
        async with trio.open_nursery() as inner:
            await inner.start(RpcServer(node.home.choose_socket(), methods, node.hub).run)
            task_status.started()
            await node.stopped.wait()
            inner.cancel_scope.cancel()

    await nursery.start(serve)
    yield node
    output.close()
    structlog.reset_defaults()


@pytest.fixture
def quick_keys(monkeypatch):
    """Make passphrases quick to check in this process."""
    monkeypatch.setattr(sealed_key, "OPERATIONS", 1)
    monkeypatch.setattr(sealed_key, "MEMORY_BYTES", 8192)


@pytest.fixture
def values(tmp_path, quick_keys):
    """What the arguments of commands name: a dataset, a folder, a file with a passphrase."""
    write_dataset(tmp_path / "file")
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("a long passphrase\n")
    return {"file": tmp_path / "file", "folder": tmp_path, "passphrase": passphrase}


@pytest.fixture
def in_process(node, capsys):
    """Run the command line on the node's home in a thread of this process, which is quicker: the same three values."""

    async def run(command, home="alice"):
        words = [*command.split(), "--home", str(node.home.path.with_name(home))]
        return await trio.to_thread.run_sync(app.run, words), *capsys.readouterr()

    return run


@pytest.fixture
def flocknode(node):
    """Run the command line on the node's home as a process: (exit code, stdout, stderr)."""

    async def run(command, *more, **options):
        words = [sys.executable, "-m", "flocknode", *command.split(), *more, "--home", str(node.home.path)]
        done = await trio.run_process(
            words, check=False, capture_stdout="stdout" not in options, capture_stderr=True, **options
        )
        return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()

    return run
