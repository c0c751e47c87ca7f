"""`python -m devnet.bench.flower_app PLAN COURSE`: a plan in Flower's simulation. Needs the extra `bench`.

Clients train with the learning worker's own code, so that what differs from daemons is all that is not training.
"""

import sys
import time
from functools import partial
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from msgspec.structs import replace

from devnet.bench.flower import FlowerCourse, FlowerPlan
from flocknode.jobs import Trained, TrainUpdate
from flocknode.learning.families import build_model
from flocknode.learning.fixed_point import dequantise, load_fixed
from flocknode.learning.train import train_module
from flocknode.learning.weights import get_module_shapes, save_weights
from protocol.codec import decode, encode

# One processor for a client, as for a daemon's worker; nothing but loopback.
BACKEND = {
    "client_resources": {"num_cpus": 1, "num_gpus": 0},
    "init_args": {"include_dashboard": False, "_node_ip_address": "127.0.0.1"},
}


def main() -> None:
    """Run the plan and write how long it took."""
    plan = decode(Path(sys.argv[1]).read_bytes(), FlowerPlan)
    server, client = ServerApp(), ClientApp()
    server.main()(partial(serve, plan, Path(sys.argv[2])))
    client.train()(partial(train, plan))
    run_simulation(server, client, num_supernodes=len(plan.splits), backend_config=BACKEND)


def serve(plan: FlowerPlan, course: Path, grid: Grid, context: Context) -> None:
    """Lead all rounds, after one of all clients in which their processes load torch."""
    module = build_model(plan.model)
    dequantise(load_fixed(Path(plan.start), get_module_shapes(module)), module)
    start = ArrayRecord(module.state_dict())
    make_strategy(len(plan.splits), plan).start(grid, start, num_rounds=1)
    began = time.perf_counter()
    result = make_strategy(plan.sampled, plan).start(grid, start, num_rounds=plan.rounds)
    took_ms = round(1_000 * (time.perf_counter() - began))
    module.load_state_dict(result.arrays.to_torch_state_dict())
    save_weights(module, Path(plan.output))
    course.write_bytes(encode(FlowerCourse(took_ms)))


def make_strategy(sampled: int, plan: FlowerPlan) -> FedAvg:
    """Return the strategy in which so many clients train in a round, drawn by Flower."""
    everybody = len(plan.splits)
    return FedAvg(
        fraction_train=sampled / everybody,
        fraction_evaluate=0.0,
        min_train_nodes=sampled,
        min_available_nodes=everybody,
    )


def train(plan: FlowerPlan, message: Message, context: Context) -> Message:
    """Train a client's model on its split."""
    module = build_model(plan.model)
    module.load_state_dict(message.content["arrays"].to_torch_state_dict())
    client = int(context.node_config["partition-id"])
    seed = client + int(message.content["config"]["server-round"]) - 1
    job = TrainUpdate(plan.model, plan.splits[client], replace(plan.settings, seed=seed), plan.start, plan.output, None)
    trained = train_module(module, job, lambda *_: False)
    assert isinstance(trained, Trained), "nobody asked it to pause"
    metrics = MetricRecord({"num-examples": trained.rows})
    return Message(RecordDict({"arrays": ArrayRecord(module.state_dict()), "metrics": metrics}), reply_to=message)


if __name__ == "__main__":
    main()
