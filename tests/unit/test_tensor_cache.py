"""The tensor cache is made by whoever needs it, once, from today's index, settings and code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prn import layout
from prn.datasets.images import CategoryTensors
from prn.errors import DataMissing
from prn.provenance.files import sha256_file
from prn.settings.loading import load_settings
from prn.settings.sections import Settings
from prn.settings.views import VIEWS, view, view_of_tensors
from prn.stages import download, index, tensors
from prn.stages.caches import images_cache, textures_cache
from prn.stages.job import Job
from tests.workflow.conftest import make_images

CELL = {"dataset": "mine", "category": "part"}
SOURCES = {"mine": "images", "dtd": "images/part/train"}
PLACES = {"download": {"sources": SOURCES}}
PATH = Path("data/tensors/mine/part/32.safetensors")


@pytest.fixture
def consumer(tmp_path, monkeypatch) -> Job:
    """A job that reads tensors, in a folder with an index and no cache."""
    make_images(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    download.run(Job("download", {"download": {}}, "mine", execution=PLACES))
    index.run(Job("index", view(Settings(), "index"), **CELL, execution=PLACES))
    return Job("evaluate", {"tensors": {"size": 32}}, **CELL, execution=PLACES)


def test_it_is_made_when_it_is_needed_and_kept_while_it_is_current(consumer):
    assert images_cache(consumer).artefact == PATH
    loaded = CategoryTensors.load(PATH)
    assert loaded.images.shape == (8 + 4 + 13, 32, 32, 3)
    first, written = sha256_file(PATH), PATH.stat().st_mtime_ns
    images_cache(consumer)
    assert PATH.stat().st_mtime_ns == written
    PATH.unlink()
    images_cache(consumer)
    assert sha256_file(PATH) == first, "the same bytes again"


def test_it_is_made_again_from_another_index_another_code_or_without_provenance(consumer):
    def written() -> int:
        return images_cache(consumer).artefact.stat().st_mtime_ns

    before = written()
    Path(layout.sidecar(str(PATH))).unlink()
    assert (after := written()) != before
    os.utime("images/part/train/good/000.png")
    assert written() == after, "a touched image is no change"
    shutil.copy("images/part/train/good/000.png", "images/part/train/good/001.png")
    index.run(Job("index", view(Settings(), "index"), **CELL, execution=PLACES))
    assert written() != after
    images = CategoryTensors.load(PATH).images
    assert np.array_equal(images[-8], images[-7]) or np.array_equal(images[0], images[1])


def test_changed_textures_of_ones_own_make_a_new_cache(consumer):
    download.run(Job("download", {"download": {}}, "dtd", execution=PLACES))
    first = textures_cache(consumer).artefact
    written = first.stat().st_mtime_ns
    assert textures_cache(consumer).artefact.stat().st_mtime_ns == written
    shutil.copy("images/part/train/good/000.png", "images/part/train/good/zzz.png")
    assert textures_cache(consumer).artefact.stat().st_mtime_ns != written


def test_by_hand_it_is_made_anew(consumer, capsys):
    job = Job("tensors", {"tensors": {"size": 32}}, **CELL, execution=PLACES)
    for _ in range(2):
        tensors.run(job)
        assert "25 images at 32x32" in capsys.readouterr().out


def test_of_several_processes_one_makes_it(consumer, project):
    code = (
        "from prn.stages.job import Job; from prn.stages.caches import images_cache;"
        f"images_cache(Job('evaluate', {{'tensors': {{'size': 32}}}}, 'mine', 'part', execution={PLACES}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, "-c", code]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert sum("25 images" in text for text in said) == 1


def test_images_that_are_gone_are_named(consumer):
    shutil.rmtree("images")
    with pytest.raises(DataMissing, match=r"images of mine are gone.*download\.sources"):
        images_cache(consumer)


def test_the_cache_of_a_stage_is_that_of_the_stage_tensors(project):
    settings = load_settings(project / "params.yaml")
    own = view(settings, "tensors", "mvtec", "bottle")
    for stage in VIEWS:
        if stage in ("prototypes", "train", "predict", "evaluate"):
            assert view_of_tensors(view(settings, stage, "mvtec", "bottle", "prn")) == own
