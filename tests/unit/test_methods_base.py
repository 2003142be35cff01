"""What all methods share: the refusals, the engine below them, and score maps that come in batches."""

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prn.backbone import random_weights
from prn.errors import PrnError
from prn.methods.base import BaseMethod, method_class
from prn.settings.methods import METHODS
from prn.settings.sections import Settings
from prn.settings.validation import validated

CPU = torch.device("cpu")
OWN_ENCODER = ("cfa", "cflow", "devnet", "dra", "kdad", "patchcore", "rd4ad")
TRAINED = ("cfa", "cflow", "devnet", "dra", "draem", "kdad", "prn", "rd4ad")


def built(name: str, weights: dict[str, torch.Tensor] | None) -> BaseMethod:
    backbone = "vgg16" if name == "kdad" else "resnet18"
    settings = validated(Settings, {"method": name, "model": {"backbone": backbone}})
    return method_class(name)(settings, weights, None, CPU)


def test_every_method_is_one_and_directly_so():
    classes = {name: method_class(name) for name in METHODS}
    assert all(issubclass(one, BaseMethod) for one in classes.values())
    towers = {name: len(one.__mro__) - 2 for name, one in classes.items()}  # without itself and `object`
    assert {name for name, height in towers.items() if height > 1} == {"colour_threshold"}, "it is a mean image"


@pytest.mark.parametrize("name", OWN_ENCODER)
def test_without_backbone_weights_a_method_that_needs_them_says_so(name):
    with pytest.raises(PrnError, match=rf"(?i)^{name} needs backbone weights$"):
        built(name, None)


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_neither_fitted_nor_loaded_predicts_nothing(name):
    pytest.importorskip("anomalib", reason="the extra `compare` is not installed")
    method = built(name, random_weights("vgg16" if name == "kdad" else "resnet18", 0))
    with pytest.raises(PrnError, match="neither fitted nor loaded"):
        method.predict(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(PrnError, match="neither fitted nor loaded"):
        method.tensors()


def test_maps_and_scores_keep_the_images_order_over_batches():
    """A method whose map is the image's first channel: seven images by three give what one by one does."""

    class FirstChannel(BaseMethod):
        needs_backbone = False

        def _score_batch(self, images):
            sizes.append(len(images))
            maps = torch.from_numpy(images[..., 0]).float()
            return maps, maps.amax(dim=(1, 2))

    sizes: list[int] = []
    method = FirstChannel(Settings(), None, None, CPU)
    method.options = SimpleNamespace(size=16, batch=3)
    images = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3)).astype(np.uint8)
    maps, scores = method.predict(images)
    assert sizes == [3, 3, 1]
    assert (maps.dtype, scores.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(maps, images[..., 0])
    np.testing.assert_array_equal(scores, images[..., 0].max(axis=(1, 2)))


@pytest.mark.parametrize("module", ["training", "acceleration", "fitting", "resume", "devices", "inference"])
def test_the_engine_imports_no_method(project: Path, module):
    """By its source, imports inside functions too."""
    tree, imported = ast.parse((project / "prn" / f"{module}.py").read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    assert any(name.startswith("prn.") for name in imported)
    assert not {name for name in imported if name.startswith(("prn.methods", "prn.stages"))}
