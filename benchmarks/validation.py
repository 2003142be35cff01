r"""Compare variants without looking at a test image: held-back normals and seen anomalies, with synthetic anomalies.

A tenth of the training normals and three of the ten seen anomalies are held back; prototypes and network are made from
the rest. Scored are the held-back normals as they are, the same with extended anomalies (from the held-back seen ones)
and with simulated anomalies, and the held-back seen images themselves. So an open choice can be made by more than the
training loss, and by no test score.

Run in a work folder that has prototypes and the textures, e.g.

    snakemake --directory runs/real-cpu --configfile workflow/presets/real-cpu.yaml --cores 2 -- \
        phase_download phase_prototypes
    python -m prn tensors --dataset dtd --category textures --root runs/real-cpu --preset workflow/presets/real-cpu.yaml
    python benchmarks/validation.py --root runs/real-cpu --preset workflow/presets/real-cpu.yaml --category pill \
        --variants prn prn-light --steps 600 --out runs/validation
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from prn import layout
from prn.backbone import Backbone
from prn.datasets.images import CategoryTensors, load_textures
from prn.fitting import FitInputs
from prn.inference import predict
from prn.methods.base import method_class
from prn.metrics import image_auroc, localization_metrics
from prn.prototypes import cluster_prototypes
from prn.settings.loading import load_settings
from prn.settings.sections import Settings
from prn.settings.variants import resolve_variant
from prn.splits import load_split
from prn.synthesis import synthesizer_of

PROJECT = Path(__file__).resolve().parents[1]
HELD_SEEN = 3
PER_NORMAL = 2  # anomalies of each kind on each held-back normal
MARKED = {"least_pixel_change": 0.0}  # the same true masks for every variant
EPOCH = 1_000_000  # an epoch number that no training reaches: other draws than the training's


@dataclasses.dataclass(frozen=True)
class Images:
    """A category's training side, divided into what trains and what is held back."""

    normals: np.ndarray
    seen: np.ndarray
    seen_masks: np.ndarray
    held_normals: np.ndarray
    held_seen: np.ndarray
    held_seen_masks: np.ndarray
    textures: np.ndarray


def main() -> None:
    arguments = parse_arguments()
    root, out = Path(arguments.root), Path(arguments.out)
    settings = load_settings(PROJECT / "params.yaml", arguments.preset)
    cell = {"dataset": arguments.dataset, "category": arguments.category, "seed": arguments.seed}
    images = divide(root, settings, cell)
    backbone = load_file(root / layout.BACKBONE.format(backbone=settings.model.backbone))
    torch.set_num_threads(settings.train.threads)
    prototypes = cluster_prototypes(
        Backbone(settings.model.backbone, backbone, train_layer4=False),
        images.normals,
        ratio=settings.prototypes.ratio,
        seed=arguments.seed,
    )
    for variant in arguments.variants:
        started = time.monotonic()
        resolved = resolve_variant(settings, variant)
        if arguments.steps:
            resolved = resolved.changed(train=resolved.train.changed(steps=arguments.steps))
        method = method_class(resolved.method)(resolved, backbone, prototypes, torch.device("cpu"))
        report = method.fit(
            FitInputs(
                dataset=arguments.dataset,
                category=arguments.category,
                seed=arguments.seed,
                normals=images.normals,
                seen=images.seen,
                seen_masks=images.seen_masks,
                textures=images.textures,
            )
        )
        losses = [row["loss"] for row in report.log]
        result = {
            **cell,
            "variant": variant,
            "steps": report.steps,
            "minutes": (time.monotonic() - started) / 60,
            "last_tenth_loss": float(np.mean(losses[-max(1, len(losses) // 10) :])) if losses else None,
            "validation": scores(method, resolved, images, cell),
        }
        path = out / f"{arguments.category}.{variant}.steps{report.steps}.seed{arguments.seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(result), flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = cell_parser(__doc__)
    parser.add_argument("--variants", nargs="+", required=True)
    return parser.parse_args()


def cell_parser(description: str | None) -> argparse.ArgumentParser:
    """Arguments that name a run, one of its cells, how long to train and where to write."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="work folder of the run")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--dataset", default="mvtec")
    parser.add_argument("--category", required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--steps", type=int, help="in place of the preset's")
    parser.add_argument("--out", required=True)
    return parser


def divide(root: Path, settings: Settings, cell: dict[str, Any]) -> Images:
    """The held-back normals are drawn by the seed; the held-back anomalies are the last of the ordered ten."""
    size = settings.tensors.size
    split = load_split(root / layout.SPLIT.format(**cell))
    tensors = CategoryTensors.load(root / layout.TENSORS.format(**cell, size=size))
    normal, seen = tensors.index_of(split.train_normal), tensors.index_of(split.seen)
    order = np.random.default_rng(cell["seed"]).permutation(len(normal))
    held, kept = normal[np.sort(order[: len(order) // 10])], normal[np.sort(order[len(order) // 10 :])]
    return Images(
        normals=tensors.images[kept],
        seen=tensors.images[seen[:-HELD_SEEN]],
        seen_masks=tensors.masks[seen[:-HELD_SEEN]],
        held_normals=tensors.images[held],
        held_seen=tensors.images[seen[-HELD_SEEN:]],
        held_seen_masks=tensors.masks[seen[-HELD_SEEN:]],
        textures=load_textures(root / layout.TENSORS.format(**layout.TEXTURES, size=size)),
    )


def scores(method: Any, settings: Settings, images: Images, cell: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Image AUROC, pixel AUROC, PRO and AP in percent: each kind of anomaly against the good ones, and all together."""
    held = FitInputs(
        **cell,
        normals=images.held_normals,
        seen=images.held_seen,
        seen_masks=images.held_seen_masks,
        textures=images.textures,
    )
    chosen = settings.synthesis.changed(extended=True, heterologous=True, homologous=True, **MARKED)
    synthesizer = synthesizer_of(held, chosen, HELD_SEEN)
    sets = {"seen": (images.held_seen, images.held_seen_masks)}
    count = PER_NORMAL * len(images.held_normals)
    for kind in ("extended", "simulated"):
        samples = [synthesizer.sample(kind, EPOCH, index) for index in range(count)]
        sets[kind] = (np.stack([s.image for s in samples]), np.stack([s.mask for s in samples]))
    sets["all"] = tuple(np.concatenate(parts) for parts in zip(*sets.values(), strict=True))
    good = images.held_normals
    result = {}
    for name, (pictures, masks) in sets.items():
        maps, image_scores = predict(method, np.concatenate([good, pictures]), settings.predict.batch_size)
        truth = np.concatenate([np.zeros((len(good), *masks.shape[1:]), masks.dtype), masks])
        labels = np.repeat([0, 1], [len(good), len(pictures)])
        found = {"image_auroc": image_auroc(image_scores, labels), **localization_metrics(maps, truth)}
        result[name] = {metric: round(100 * value, 2) for metric, value in found.items()}
    return result


if __name__ == "__main__":
    main()
