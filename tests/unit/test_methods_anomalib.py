"""CFLOW, DRAEM, SSPCAB, RD4AD and CFA: each learns, repeats itself, resumes, and predicts alike after `load`."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from prn.backbone import random_weights
from prn.errors import DataMissing, PrnError, SettingsError
from prn.reporting.published import published
from prn.resume import ResumeFile
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.methods import METHODS
from prn.settings.sections import Settings
from prn.settings.validation import validated
from prn.settings.variants import resolve_variant

from .anomalib_case import SIZE, inputs, scored_images, stripes

pytest.importorskip("anomalib", reason="the extra `compare` is not installed")

# A size, a width and a number of steps that a CPU core learns in seconds.
DRAEM = {
    "size": 64,
    "steps": 55,
    "batch": 4,
    "reconstructive_width": 8,
    "discriminative_width": 8,
    "learning_rate": 4e-3,
    "anomalous_share": 0.8,
}
SHORT = {
    "cflow": {"size": 64, "steps": 6, "batch": 8, "warmup_epochs": 0.0, "blocks": 2, "learning_rate": 2e-3},
    "draem": DRAEM,
    "sspcab": {**DRAEM, "sspcab": True},
    "rd4ad": {"size": 64, "steps": 14, "batch": 4, "learning_rate": 1e-2},
    "cfa": {"resize": 72, "crop": 64, "steps": 5, "batch": 4},
}


def build(variant: str, weights, minutes: float = 60.0, **changes):
    """The method of a variant with short settings, laid over by `changes`."""
    name = "draem" if variant == "sspcab" else variant
    settings = validated(
        Settings,
        {
            "method": name,
            "tensors": {"size": SIZE},
            "methods": {name: {**SHORT[variant], **changes}},
            "train": {"threads": 1, "checkpoint_minutes": minutes},
        },
    )
    return importlib.import_module(METHODS[name].module).Method(settings, weights, None, torch.device("cpu"))


def fitted(variant: str, weights, normals, seed: int = 3, **changes):
    method = build(variant, weights, **changes)
    method.fit(inputs(normals, seed))
    return method


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights("resnet18", seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("variant", SHORT)
def test_it_learns_what_is_normal(variant, weights):
    """Against the same model after a step that changes nothing; CFA's memory knows the category, so there of noise."""
    images, labels, masks = scored_images()
    maps, scores = fitted(variant, weights, stripes(16, seed=0)).predict(images)
    noise = np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3)).astype(np.uint8)
    ignorant = noise if variant == "cfa" else stripes(16, seed=0)
    _, blind = fitted(variant, weights, ignorant, steps=1, learning_rate=1e-9).predict(images)
    assert maps.shape == (20, SIZE, SIZE)
    assert maps.dtype == np.float32
    assert scores.dtype == np.float64
    assert roc_auc_score(labels, scores) >= 0.8
    assert roc_auc_score(labels, scores) >= roc_auc_score(labels, blind) + 0.1
    assert roc_auc_score(masks.ravel(), maps.ravel()) >= 0.75


@pytest.mark.parametrize("variant", SHORT)
def test_a_seed_a_resumed_run_and_a_loaded_checkpoint_all_give_the_same(variant, weights, tmp_path):
    normals, images = stripes(7, seed=0), scored_images()[0][8:12]
    whole = fitted(variant, weights, normals, steps=3)
    expected = whole.tensors()

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if "step 2/" in line:
            raise Stopped

    resume = ResumeFile(tmp_path / "resume.pt", {})
    interrupted = build(variant, weights, minutes=1e-9, steps=3)
    with pytest.raises(Stopped):
        interrupted.fit(inputs(normals, resume=resume, progress=stop))
    assert resume.path.is_file()
    lines: list[str] = []
    resumed = build(variant, weights, minutes=1e-9, steps=3)
    report = resumed.fit(inputs(normals, resume=resume, progress=lines.append))
    assert any("continuing after step 1 of 3" in line for line in lines)
    assert [row["step"] for row in report.log] == [1, 2, 3]
    assert expected.keys() == resumed.tensors().keys()
    assert all(torch.equal(value, resumed.tensors()[name]) for name, value in expected.items())
    loaded = build(variant, weights)
    loaded.load(expected)
    for first, second in zip(whole.predict(images), loaded.predict(images), strict=True):
        assert np.array_equal(first, second)
    other = fitted(variant, weights, normals, seed=4, steps=3).tensors()
    assert any(not torch.equal(value, other[name]) for name, value in expected.items())


@pytest.mark.parametrize("variant", SHORT)
def test_a_map_depends_on_no_other_image(variant, weights):
    method, images = fitted(variant, weights, stripes(4, seed=0), steps=1), scored_images()[0][8:12]
    together = method.predict(images)
    alone = [method.predict(image[None]) for image in images]
    for which in (0, 1):
        np.testing.assert_allclose(
            together[which], np.concatenate([pair[which] for pair in alone]), rtol=1e-3, atol=1e-5
        )


def test_cflow_needs_the_weights_of_layer4(weights):
    shallow = {name: value for name, value in weights.items() if not name.startswith("layer4")}
    with pytest.raises(DataMissing, match=r"layer2 to layer4 of resnet18.*weights\.path"):
        build("cflow", shallow)
    build("rd4ad", shallow)
    build("cfa", shallow)


def test_a_flows_likelihood_is_a_density(weights):
    """With one channel pair and no condition the flow's density integrates to 1 over the plane."""
    library = importlib.import_module("anomalib.models.image.cflow.utils")
    torch.manual_seed(0)
    flow = library.cflow_head(condition_vector=4, coupling_blocks=2, clamp_alpha=1.9, n_features=2)
    axis = torch.linspace(-12, 12, 241)
    points = torch.cartesian_prod(axis, axis)
    method = build("cflow", weights)
    with torch.no_grad():
        density = (2 * method._likelihood(flow, points, torch.zeros(len(points), 4))).exp()
    assert float(density.sum() * 0.1**2) == pytest.approx(1.0, abs=0.01)


def test_cflow_warms_up_and_then_follows_a_cosine(weights):
    method = build("cflow", weights, epochs=200, warmup_epochs=16.0)
    assert method._rate(0.0) == pytest.approx(0.1)
    assert method._rate(0.08) == pytest.approx(1.0)
    assert method._rate(0.54) == pytest.approx(0.5, abs=0.01)
    assert method._rate(0.9999) < 0.002


def test_cfa_refuses_a_backbone_whose_widths_its_descriptor_does_not_know():
    settings = validated(Settings, {"method": "cfa", "model": {"backbone": "resnet34"}, "train": {"threads": 1}})
    from prn.methods.cfa import Method

    with pytest.raises(SettingsError, match=r"model\.backbone: found 'resnet34'"):
        Method(settings, {}, None, torch.device("cpu"))


def test_cfas_distances_are_squared_euclidean(weights):
    method = build("cfa", weights)
    described, method.memory = torch.randn(2, 5, 3, 4), torch.randn(7, 5)
    expected = torch.cdist(described.flatten(2).transpose(1, 2), method.memory) ** 2
    torch.testing.assert_close(method._distances(described), expected, rtol=1e-4, atol=1e-4)


def test_draems_focal_loss_counts_normal_pixels():
    """By hand: p = 0.8 of the true class gives -(0.2)^2 ln 0.8 for either class."""
    from prn.methods.draem import focal_loss

    logit = float(np.log(4.0))
    logits = torch.tensor([[[[logit, 0.0]], [[0.0, logit]]]])
    expected = -(0.2**2) * np.log(0.8)
    assert float(focal_loss(logits, torch.tensor([[[0, 1]]]))) == pytest.approx(expected)
    assert float(focal_loss(logits[..., :1], torch.tensor([[[0]]]))) == pytest.approx(expected)


def test_draem_paints_the_stated_share_and_keeps_the_rest(weights):
    from prn.methods.draem import TrainingSamples

    normals = stripes(5, seed=0)
    options = build("draem", None, anomalous_share=0.5, rotated_share=0.0, opacity=[0.0, 0.5]).options
    given = inputs(normals)
    originals, images, masks = TrainingSamples(options, given).batch(step=3, count=200)
    painted = masks.any(axis=(1, 2))
    assert 0.4 < painted.mean() < 0.6
    assert np.array_equal(images[~painted], originals[~painted])
    assert np.array_equal(images[masks == 0], originals[masks == 0])
    assert (images[masks == 1] != originals[masks == 1]).any(axis=1).mean() > 0.9
    assert all((normals == original).all(axis=(1, 2, 3)).any() for original in originals)


def test_draem_without_textures_says_so():
    with pytest.raises(PrnError, match="needs textures"):
        build("draem", None).fit(inputs(stripes(2, seed=0), textures=None))


def test_sspcab_is_the_published_block():
    """Against a plain masked convolution: a 5 x 5 kernel that is zero but for its corners, ReLU, channel attention."""
    from prn.methods.draem import predictive_block

    torch.manual_seed(0)
    block, channels = predictive_block(16), 16
    kernel = torch.zeros(channels, channels, 5, 5)
    corners = ((0, 0, block.masked_conv1), (0, 4, block.masked_conv2), (4, 0, block.masked_conv3))
    for row, column, convolution in (*corners, (4, 4, block.masked_conv4)):
        kernel[:, :, row, column] = convolution.weight[:, :, 0, 0]
    bias = sum(convolution.bias for *_, convolution in (*corners, (4, 4, block.masked_conv4)))
    image = torch.randn(2, channels, 9, 7)
    masked = torch.relu(torch.nn.functional.conv2d(image, kernel, bias, padding=2))
    attention = block.attention_module[1]
    squeezed = torch.relu(masked.mean(dim=(2, 3)) @ attention.fc1.weight.T + attention.fc1.bias)
    gate = torch.sigmoid(squeezed @ attention.fc2.weight.T + attention.fc2.bias)
    torch.testing.assert_close(block(image), masked * gate[:, :, None, None], rtol=1e-4, atol=1e-5)


def test_sspcab_replaces_the_penultimate_convolution_of_the_reconstructive_encoder(weights):
    plain, with_block = build("draem", None), build("sspcab", None)
    for one in (plain, with_block):
        one.network = one._build()
    names = [
        [name for name, part in one.network["reconstructive"].encoder.named_modules() if type(part).__name__ == kind]
        for one, kind in ((plain, "Conv2d"), (with_block, "SSPCAB"))
    ]
    assert names[1] == [names[0][-2]]
    pixels = torch.rand(2, 3, 64, 64)
    assert float(plain._forward(pixels)[2]) == 0
    assert float(with_block._forward(pixels)[2]) > 0


def test_the_variants_have_their_papers_settings(project: Path):
    """Reference 6 and 7 and the methods' papers, written by hand."""
    params = parse_settings(read_yaml(project / "params.yaml"))
    chosen = {name: resolve_variant(params, name) for name in ("cflow", "draem", "sspcab", "rd4ad", "cfa")}
    for name in ("cflow", "rd4ad", "cfa"):
        assert chosen[name].model.backbone == "wide_resnet50_2"
    for name in ("cflow", "rd4ad", "patchcore"):
        assert resolve_variant(params, f"{name}-resnet18").model.backbone == "resnet18"
    cflow, draem = chosen["cflow"].methods.cflow, chosen["draem"].methods.draem
    rd4ad, cfa = chosen["rd4ad"].methods.rd4ad, chosen["cfa"].methods.cfa
    assert (cflow.size, cflow.epochs, cflow.batch, cflow.learning_rate, cflow.blocks) == (256, 25 * 8, 32, 2e-4, 8)
    assert (draem.size, draem.epochs, draem.learning_rate, draem.decay_epochs) == (256, 700, 1e-4, [400, 600])
    assert (draem.sspcab, chosen["sspcab"].methods.draem.sspcab) == (False, True)
    assert (rd4ad.size, rd4ad.epochs, rd4ad.batch, rd4ad.learning_rate) == (256, 200, 16, 5e-3)
    assert (cfa.resize, cfa.crop, cfa.epochs, cfa.batch) == (256, 224, 30, 4)


def test_the_full_benchmark_runs_what_the_paper_prints(project: Path):
    """Each printed column of these methods, with Table 3's ResNet-18 rows, has a variant that is run."""
    runs = parse_settings(read_yaml(project / "params.yaml")).benchmark.datasets
    methods = {"CFLOW", "DRAEM", "SSPCAB", "RD4AD", "CFA", "PatchCore"}
    printed = {(row.dataset, row.variant) for row in published() if row.method in methods and row.variant}
    assert {variant for _, variant in printed} == {*SHORT, "patchcore", "cflow-resnet18", "rd4ad-resnet18"}
    assert all(variant in runs[dataset].variants for dataset, variant in printed)
