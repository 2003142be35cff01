"""Every variant of PRN in params.yaml trains and predicts, and differs from PRN itself."""

import dataclasses

import numpy as np
import pytest
import torch
import yaml

from prn.methods.prn import Method
from prn.methods.prn_batches import TrainingBatches
from prn.prototypes import cluster_prototypes
from prn.settings.loading import load_settings
from prn.settings.variants import resolve_variant
from tests.unit import training_case

# Of four normal images 5, 10 and 20 % are all one prototype, and of two seen anomalies five are as many as ten;
# in the one step of this training no pixel is left unmarked.
SAME_WHEN_TINY = {"prn-ratio-05", "prn-ratio-20", "prn-shots-5", "prn-visible-masks"}


def of_prn(project) -> dict:
    variants = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["variants"]
    return {name: overrides for name, overrides in variants.items() if "method" not in overrides}


@pytest.fixture(scope="module")
def trained(project):
    """By variant the training log and the score maps of two images, after one step with one attention block."""
    weights, _ = training_case.frozen()
    data = training_case.inputs(None)
    data = dataclasses.replace(data, category="carpet", normals=data.normals[:4])  # no foreground rule
    tiny = project / "tests/unit/tiny_training.yaml"
    settings = load_settings(project / "params.yaml", tiny)
    backbone = training_case.Backbone("resnet18", weights)
    prototypes = {r: cluster_prototypes(backbone, data.normals, r, seed=3) for r in (0.05, 0.1, 0.2, 1.0)}
    found = {}
    for name in of_prn(project):
        resolved = resolve_variant(settings, name)
        torch.set_num_threads(1)
        method = Method(resolved, weights, prototypes[resolved.prototypes.ratio], torch.device("cpu"))
        report = method.fit(data)
        maps, scores = method.predict(np.concatenate([data.seen, data.normals[:1]]))
        found[name] = [row["loss"] for row in report.log], maps, scores
    return found


def test_every_variant_trains_and_predicts_and_is_no_other(project, trained):
    losses, maps, _ = trained["prn"]
    for name, (variant_losses, variant_maps, scores) in trained.items():
        assert np.isfinite(variant_losses).all() and len(variant_losses) == 1, name
        assert variant_maps.shape == (3, 32, 32) and ((variant_maps >= 0) & (variant_maps <= 1)).all(), name
        assert np.isfinite(scores).all(), name
        same = variant_losses == losses and np.array_equal(variant_maps, maps)
        assert same == (name == "prn" or name in SAME_WHEN_TINY), name


def test_visible_masks_leave_pixels_unmarked_later(project):
    settings = load_settings(project / "params.yaml", project / "tests/unit/tiny_training.yaml")
    data = dataclasses.replace(training_case.inputs(None), category="carpet")
    marked = {}
    for name in ("prn", "prn-visible-masks"):
        method = Method(resolve_variant(settings, name), *training_case.frozen(), torch.device("cpu"))
        batches = TrainingBatches(method.settings, data, method._plan(data), torch.device("cpu"))
        marked[name] = sum(int(batches.step(number).masks.sum()) for number in range(20))
    assert 0 < marked["prn-visible-masks"] < marked["prn"]


def test_the_demo_of_everything_plans_every_variant_of_prn(project):
    preset = yaml.safe_load((project / "workflow/presets/demo-all.yaml").read_text(encoding="utf-8"))
    planned = preset["benchmark"]["datasets"]["mvtec"]["variants"]
    assert set(of_prn(project)) <= set(planned)
