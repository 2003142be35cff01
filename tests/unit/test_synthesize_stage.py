"""The tool `synthesize`: what it writes, what it needs, and what it says where something is missing."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from prn.datasets.images import TextureTensors, texture_tensors
from prn.errors import DataMissing
from prn.settings.sections import TensorSettings
from prn.settings.views import view
from prn.splits import load_split, save_split
from prn.stages.job import Job
from prn.tools.synthesize import run
from tests.unit.reporting_world import SIZE, make_settings, make_world

TEXTURES = f"data/tensors/dtd/textures/{SIZE}.safetensors"
SPLIT = "data/splits/mvtec/bottle/seed42.json"
VARIANTS = {
    "prn": {},
    "prn-no-hea": {"synthesis": {"heterologous": False}},
    "prn-no-ea": {"synthesis": {"extended": False}},
}
SHEET = "data/synthesis/mvtec/bottle/{}/bottle-synthesis.png"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A work folder with split and cached images of one category: no weights, no prototypes, no textures."""
    settings = make_settings({"mvtec": ["bottle"]}, ["prn"], [42])
    make_world(tmp_path, settings, predictions=False)
    (
        tmp_path / "data/index/mvtec/bottle.csv"
    ).unlink()  # as on a machine that only trains; the world's cache is made up
    monkeypatch.chdir(tmp_path)

    def of(variant: str = "prn") -> Job:
        sized = settings.changed(tensors=TensorSettings(size=SIZE), variants=VARIANTS)
        return Job("train", view(sized, "train", "mvtec", "bottle", variant), "mvtec", "bottle", variant, 42)

    return of


def test_it_writes_sheets_and_samples(job):
    TextureTensors(np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8), [], "").save(
        TEXTURES
    )
    run(job())
    sheet = Path(SHEET.format("prn"))
    assert cv2.imread(str(sheet)).shape[0] > 12 * SIZE  # four rows each of EA, HEA and HOA
    names = sorted(path.name for path in sheet.parent.iterdir())
    assert "bottle-foreground.png" in names and len(names) == 2 + 2 * 32
    mask = cv2.imread(str(sheet.parent / "extended_003_mask.png"), cv2.IMREAD_GRAYSCALE)
    assert mask.shape == (SIZE, SIZE) and set(np.unique(mask)) == {0, 255}


def test_without_textures_it_says_how_to_get_some_or_do_without(job):
    with pytest.raises(DataMissing) as caught:
        run(job())
    message = str(caught.value)
    assert caught.value.exit_code == 3 and message.startswith(TEXTURES)
    for words in (
        "`python -m prn tensors --dataset dtd --category textures`",
        "`download.sources.dtd`",
        "`synthesis.heterologous: false`",
    ):
        assert words in message


def test_a_variant_without_heterologous_anomalies_needs_no_textures(job):
    run(job("prn-no-hea"))
    assert Path(SHEET.format("prn-no-hea")).is_file()


def test_any_folder_of_images_gives_textures(job, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    cv2.imwrite(str(mine / "a.png"), np.arange(48 * 40 * 3, dtype=np.uint8).reshape(48, 40, 3))
    texture_tensors(mine, SIZE).save(TEXTURES)
    run(job())
    assert Path(SHEET.format("prn")).is_file()


def test_without_a_seen_anomaly_that_has_a_mask(job):
    save_split(replace(load_split(SPLIT), seen=[]), SPLIT)
    TextureTensors(np.zeros((1, SIZE, SIZE, 3), np.uint8), [], "").save(TEXTURES)
    with pytest.raises(DataMissing, match=r"synthesis\.extended is on, .* no seen anomaly .* prn-no-ea"):
        run(job())
    run(job("prn-no-ea"))
    assert Path(SHEET.format("prn-no-ea")).is_file()


def test_a_missing_split_names_its_stage(job):
    Path(SPLIT).unlink()
    with pytest.raises(DataMissing, match=r"python -m prn split --dataset mvtec --category bottle --seed 42`"):
        run(job())
