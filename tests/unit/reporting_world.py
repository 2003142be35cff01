"""A small finished benchmark on disk, as the stages leave it, for the tests of the report."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from prn.datasets.images import CategoryTensors
from prn.datasets.rows import IndexRow, write_index
from prn.metrics import image_auroc, localization_metrics, operating_points
from prn.predictions import save_predictions
from prn.settings.sections import BenchmarkSettings, DatasetRun, ReportSettings, Settings
from prn.splits import make_split, save_split

SIZE = 32
GOOD, DEFECTS = 6, ("crack", "stain")
SKILL = {
    "prn": 1.0,
    "untrained": 0.45,
    "mean-image": 0.1,
    "colour-threshold": 0.05,
    "prn-no-msa": 0.8,
    "prn-light": 0.7,
    "prn-light-ea-only": 0.9,
    "patchcore": 0.9,
    "cflow": 0.7,
    "draem": 0.65,
    "sspcab": 0.6,
    "rd4ad": 0.55,
}


def make_settings(
    categories: dict[str, list[str]],
    variants: list[str],
    seeds: list[int],
    generated: bool = False,
    preset: str = "test",
    rows: int = 4,
) -> Settings:
    """Settings of a benchmark of these categories, every data set with the same variants."""
    return Settings(
        benchmark=BenchmarkSettings(
            preset=preset,
            generated_images=generated,
            seeds=seeds,
            datasets={
                name: DatasetRun(categories=list(names), variants=list(variants)) for name, names in categories.items()
            },
        ),
        report=ReportSettings(figure_rows=rows),
        variants={name: {} for name in variants},
    )


def make_world(root: Path, settings: Settings, predictions: bool = True) -> None:
    """Write index, split, tensors, run cards, logs, predictions and metrics of every planned run below `root`."""
    for dataset, run in settings.benchmark.datasets.items():
        for category in run.categories:
            tensors, rows = _category(root, dataset, category)
            for seed in settings.benchmark.seeds:
                split = make_split(rows, dataset, category, seed, seen_anomalies=2)
                save_split(split, root / f"data/splits/{dataset}/{category}/seed{seed}.json")
                for variant in run.variants:
                    _run(root, tensors, {row.path: row.label for row in rows}, split, variant, predictions)


def _category(root: Path, dataset: str, category: str):
    generator = np.random.default_rng([len(dataset), *category.encode()])
    images, masks, rows = [], [], []
    for split, kind, number in _names():
        ground = generator.integers(90, 150, (SIZE, SIZE, 3))
        mask = np.zeros((SIZE, SIZE), np.uint8)
        if kind != "good":
            for _ in range(int(generator.integers(1, 3))):
                centre = tuple(int(value) for value in generator.integers(6, SIZE - 6, 2))
                cv2.circle(mask, centre, int(generator.integers(2, 6)), 1, -1)
            ground[mask > 0] = 240 if kind == "crack" else 20
        images.append(ground.astype(np.uint8))
        masks.append(mask)
        path = f"{category}/{split}/{kind}/{number:03d}.png"
        mask_path = f"{category}/ground_truth/{kind}/{number:03d}_mask.png" if kind != "good" else ""
        rows.append(
            IndexRow(
                path=path,
                split=split,
                type=kind,
                label=int(kind != "good"),
                mask=mask_path,
                width=100,
                height=80,
                sha256=hashlib.sha256(path.encode()).hexdigest(),
                mask_sha256="0" * 64 if mask_path else "",
                mask_area=int(mask.sum()) * 8,
            )
        )
    tensors = CategoryTensors(
        images=np.stack(images),
        masks=np.stack(masks),
        paths=[row.path for row in rows],
        has_mask=np.ones(len(rows), bool),
        lost_regions=np.zeros(len(rows), np.int64),
        source="test",
    )
    tensors.save(root / f"data/tensors/{dataset}/{category}/{SIZE}.safetensors")
    write_index(rows, root / f"data/index/{dataset}/{category}.csv")
    return tensors, rows


def _names():
    yield from (("train", "good", number) for number in range(8))
    yield from (("test", "good", number) for number in range(GOOD))
    yield from (("test", kind, number) for kind in DEFECTS for number in range(4))


def _run(root: Path, tensors: CategoryTensors, labels: dict[str, int], split, variant: str, predictions: bool) -> None:
    folder = f"{split.dataset}/{split.category}/{variant}"
    generator = np.random.default_rng([split.seed, *variant.encode()])
    places = tensors.index_of(split.test)
    masks = tensors.masks[places]
    noise = generator.random((len(places), SIZE, SIZE))
    maps = np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in masks.astype(np.float64) * SKILL[variant] + noise])
    maps = maps.astype(np.float16)
    scores = np.sort(maps.reshape(len(maps), -1).astype(np.float64), axis=1)[:, -20:].mean(axis=1)
    truth = np.array([labels[path] for path in split.test])
    if predictions:
        file = root / f"data/predictions/{folder}/seed{split.seed}.npz"
        save_predictions(file, maps, scores, split.test)
    values = {"image_auroc": image_auroc(scores, truth), **localization_metrics(maps, masks)}
    _write_json(
        root / f"data/metrics/{folder}/seed{split.seed}.json",
        {
            "dataset": split.dataset,
            "category": split.category,
            "variant": variant,
            "method": variant.partition("-")[0],
            "seed": split.seed,
            **values,
            # The ends differ by seed; pixel AUROC has none, as after an evaluation without bootstrap.
            "confidence": {"image_auroc": [0.5, 0.75 if split.seed == 42 else 0.85]},
            "seconds_per_image": 0.0125,
            "reasons": {},
            "operating_points": [asdict(point) for point in operating_points(scores, truth)],
            "legacy": {"legacy_pro_rd4ad_200": 0.5, "legacy_pro_cflow_1000": 0.25 if split.seed == 42 else None},
            "counts": {
                "train_normal": len(split.train_normal),
                "seen": len(split.seen),
                "test_good": int((truth == 0).sum()),
                "test_defective": int((truth == 1).sum()),
                "test_without_mask": 0,
            },
            "timing": {"batch1_median_s": 0.0125, "batch1_p95_s": 0.02, "batch32_median_s": 0.004},
            "train": {"seconds": 61.5, "steps": 20, "epochs": 2.5, "peak_memory_mb": 812.25, "final_loss": 0.03},
            "device": "Test CPU 3000",
            "commit": "0123456789abcdef",
            "tree_clean": True,
            "parameters": "feedc0de",
            "split": "5" * 64,
            "weights": "imagenet",
            "warnings": [],
        },
    )
    _training(root, folder, split.seed, variant)


def _training(root: Path, folder: str, seed: int, variant: str) -> None:
    lines = ["step,epoch,loss,smooth_l1,focal,learning_rate,positive_share,seconds"]
    lines += [
        f"{step},0,{1 / step:.5f},{0.3 / step:.5f},{0.7 / step:.5f},0.0001,0.005,{step * 3}" for step in range(1, 21)
    ]
    card = root / f"data/checkpoints/{folder}/seed{seed}.card.json"
    _write_json(
        card,
        {
            "command": f"python -m prn train --root {root} --variant {variant} --weights /home/somebody/r18.pth",
            "commit": "0123456789abcdef",
            "tree_clean": True,
            "settings": {"train": {"steps": 20, "learning_rate": 1e-3}, "model": {"attention": True}},
            "parameters": "feedc0de",
            "seed": seed,
            "hashes": {"split": "5" * 64, "prototypes": "7" * 64},
            "versions": {"python": "3.11", "torch": "2.15"},
            "device": "Test CPU 3000",
            "precision": "float32",
            "threads": 2,
            "deterministic": True,
            "seconds": {"train": 61.5},
            "peak_memory_mb": 812.25,
            "steps": 20,
            "warnings": ["one of the prototypes has a single member"],
        },
    )
    (card.parent / f"seed{seed}.log.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_json(path: Path, data: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
