"""What a node tells its subscribers beside blocks and tasks: peers, steps of rounds, how far it is behind."""

import trio

from flocknode.block_history import BlockHistory
from flocknode.chain import Chain
from flocknode.logs import LogOutput
from flocknode.network import PeerId
from flocknode.replica import Replica, ReplicaStatus
from flocknode.round_history import RoundHistory
from flocknode.rpc.events import EventHub
from flocknode.rpc.records import PeerChange, PeerEvent, RoundEvent
from flocknode.task_events import TaskHistory
from flocknode.work import Works

# How often a node looks whether it is behind, and by how much it must be for that to count as work.
LOOK_S = 0.5
MIN_BEHIND_BLOCKS = 16


def remember_events(hub: EventHub, chain: Chain, output: LogOutput) -> None:
    """Give the hub the past of those topics that a subscriber can resume."""
    hub.histories["blocks"] = BlockHistory(chain)
    hub.histories["rounds"] = RoundHistory(chain)
    hub.histories["tasks"] = TaskHistory(chain.store)
    hub.histories["logs"] = output


def tell_peer(hub: EventHub, peer: PeerId, change: PeerChange, peers: int) -> None:
    """Tell that a peer came or went, and how many are connected."""
    hub.publish("peers", PeerEvent(peer=peer, change=change, peers=peers))


def tell_step(hub: EventHub, status: ReplicaStatus) -> None:
    """Tell that the replica entered a step of a round."""
    event = RoundEvent(height=status.height, round=status.round, step=status.step.name.lower(), cause=status.cause)
    hub.publish("rounds", event)


async def follow_catch_up(chain: Chain, replica: Replica, works: Works) -> None:
    """Show as work how far the log is behind, while it is more than a few blocks."""
    while True:
        await trio.sleep(LOOK_S)
        if replica.target_height - chain.head.height < MIN_BEHIND_BLOCKS:
            continue
        with works.track("catching up", "the log", "blocks") as advance:
            while (target := replica.target_height) > (height := chain.head.height):
                advance(height, target)
                with trio.move_on_after(LOOK_S):
                    await replica.wait_for_height(height + 1)
