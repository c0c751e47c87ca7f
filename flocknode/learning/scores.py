"""What a voter finds out about models on its own test data (white paper VI.E)."""

from pathlib import Path

from flocknode.jobs import ModelScore, ProgressReport, Scored, ScoreModels, shorten
from flocknode.learning.datasets import check_fit, load_dataset
from flocknode.learning.device import get_device
from flocknode.learning.errors import UnusableFile
from flocknode.learning.evaluate import choose_measure, compute_finite_outputs
from flocknode.learning.families import build_model
from flocknode.learning.fixed_point import dequantise, load_fixed
from flocknode.learning.weights import get_module_shapes


def score_models(job: ScoreModels, report: ProgressReport) -> Scored:
    """Measure every candidate on the dataset; one that cannot be used gets no value, and is no failure of the job."""
    device = get_device()
    dataset = load_dataset(Path(job.dataset), device)
    measure = choose_measure(job.metric, dataset)
    module = build_model(job.model).to(device)
    check_fit(module, dataset)
    shapes = get_module_shapes(module)
    scores = []
    for candidate in job.candidates:
        try:
            dequantise(load_fixed(Path(candidate), shapes), module)
            outputs = compute_finite_outputs(module, dataset)
        except UnusableFile as error:
            scores.append(ModelScore(None, shorten(str(error))))
        else:
            scores.append(ModelScore(measure(outputs, dataset.targets), ""))
        report(len(scores), len(job.candidates))
    return Scored(tuple(scores))
