r"""Is the network that predicts the one that was trained? Along a training, without a test image.

Every `--every` steps: the loss on eight batches of the training's later steps, with BatchNorm's statistics of these
batches (as in training), with the running averages (as in prediction), and with statistics recalibrated from twenty
later batches (`train.precise_norm_batches`). Every `--scores-every` steps also the scores of
`benchmarks/validation.py`, in prediction and with the recalibrated statistics. The training itself is not touched.
Prepare a work folder as there, then

    python benchmarks/trajectory.py --root runs/real-decay --preset workflow/presets/real-decay.yaml --category pill \
        --variant prn-light --steps 4000 --precision bfloat16 --out runs/real-decay/trajectory

writes `<out>/<category>.<variant>.steps<N>.seed<S>.jsonl`, a line a look. One thread (`train.threads`) a process.
"""

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from unittest import mock

import torch
from safetensors.torch import load_file
from validation import PROJECT, cell_parser, divide, scores

from prn import layout
from prn.backbone import Backbone
from prn.fitting import FitInputs
from prn.methods.prn import Method
from prn.methods.prn_batches import StepBatch, TrainingBatches
from prn.model.losses import prn_loss
from prn.model.precise_norm import recalibrate_statistics
from prn.prototypes import cluster_prototypes
from prn.settings.loading import load_settings
from prn.settings.sections import TrainSettings
from prn.settings.variants import resolve_variant
from prn.training import learning_rate

LOSS_BATCHES, STATISTICS_BATCHES = 8, 20


def main() -> None:
    arguments = parse_arguments()
    root = Path(arguments.root)
    settings = resolve_variant(load_settings(PROJECT / "params.yaml", arguments.preset), arguments.variant)
    settings = settings.changed(
        train=settings.train.changed(steps=arguments.steps, precision=arguments.precision, precise_norm_batches=0),
        predict=settings.predict.changed(precision=arguments.precision),
    )
    cell = {"dataset": arguments.dataset, "category": arguments.category, "seed": arguments.seed}
    images = divide(root, settings, cell)
    weights = load_file(root / layout.BACKBONE.format(backbone=settings.model.backbone))
    torch.set_num_threads(settings.train.threads)
    encoder = Backbone(settings.model.backbone, weights, train_layer4=False)
    prototypes = cluster_prototypes(encoder, images.normals, ratio=settings.prototypes.ratio, seed=arguments.seed)
    method = Method(settings, weights, prototypes, torch.device("cpu"))
    inputs = FitInputs(
        **cell, normals=images.normals, seen=images.seen, seen_masks=images.seen_masks, textures=images.textures
    )
    out = (
        Path(arguments.out)
        / f"{arguments.category}.{arguments.variant}.steps{arguments.steps}.seed{arguments.seed}.jsonl"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:

        def rate(number: int, total: int, chosen: TrainSettings) -> float:
            """The learning rate; the engine asks for it as a step begins, which is when the training is looked at."""
            if number and number % arguments.every == 0:
                say(look(number), file)
            return learning_rate(number, total, chosen)

        def look(number: int) -> dict[str, Any]:
            later = TrainingBatches(settings, inputs, method._plan(inputs), method.device)
            steps = [later.step(arguments.steps + ahead) for ahead in range(LOSS_BATCHES + STATISTICS_BATCHES)]
            row: dict[str, Any] = {"step": number}
            for name in ("training", "prediction", "precise"):
                with untouched(method):
                    if name == "precise":
                        recalibrate(method, steps[LOSS_BATCHES:])
                    row[f"loss_{name}"] = loss(method, steps[:LOSS_BATCHES], training=name == "training")
                    if name != "training" and number % arguments.scores_every == 0:
                        row[f"scores_{name}"] = scores(method, settings, images, cell)["all"]
            return row

        with mock.patch("prn.methods.prn.learning_rate", rate):
            method.fit(inputs)
        say(look(arguments.steps), file)


def parse_arguments() -> argparse.Namespace:
    parser = cell_parser(__doc__)
    parser.add_argument("--variant", default="prn")
    parser.add_argument(
        "--precision", default="float32", choices=["float32", "bfloat16"], help="of training and prediction"
    )
    parser.add_argument("--every", type=int, default=40)
    parser.add_argument("--scores-every", type=int, default=400)
    arguments = parser.parse_args()
    if arguments.steps is None:
        parser.error("--steps is needed: the batches that come after them are what is looked at")
    return arguments


def say(row: dict[str, Any], file: TextIO) -> None:
    line = json.dumps(row)
    print(line, file=file, flush=True)
    print(line, flush=True)


@contextlib.contextmanager
def untouched(method: Method) -> Iterator[None]:
    """The network's weights, statistics and mode as they were, after whatever is done to it."""
    network = method.network
    assert network is not None
    state, mode = {name: value.clone() for name, value in network.state_dict().items()}, network.training
    try:
        yield
    finally:
        network.load_state_dict(state)
        network.train(mode)


@torch.no_grad()
def loss(method: Method, steps: list[StepBatch], training: bool) -> float:
    """The mean of the training's loss over these batches, with the network in training mode or in prediction's."""
    network, settings = method.network, method.settings.train
    assert network is not None
    network.train(training)
    found = []
    for step in steps:
        with method._autocast(settings.precision):
            logits = network(method._pixels(step.images, settings.channels_last))
        found.append(
            prn_loss(
                logits.float(),
                step.masks[:, None].float(),
                focal_weight=settings.focal_weight,
                focal_alpha=settings.focal_alpha,
                focal_gamma=settings.focal_gamma,
                smooth_l1_beta=settings.smooth_l1_beta,
            )[0]
        )
    return float(torch.stack(found).mean())


def recalibrate(method: Method, steps: list[StepBatch]) -> None:
    """Replace BatchNorm's statistics by those of these batches."""
    settings, network = method.settings.train, method.network
    assert network is not None
    network.train()
    with method._autocast(settings.precision):
        recalibrate_statistics(network, (method._pixels(step.images, settings.channels_last) for step in steps))


if __name__ == "__main__":
    main()
