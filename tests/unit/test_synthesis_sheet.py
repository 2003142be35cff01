"""Contact sheets and sample files."""

import cv2
import numpy as np
import pytest

from prn.synthesis.sheet import COLUMNS, LABELS, contact_sheet, foreground_sheet, sample_parts, write_samples
from tests.unit.synthesis_pictures import HEIGHT, WIDTH, make


def test_the_parts_of_a_row():
    synthesizer = make()
    for kind, index in (("extended", 0), ("simulated", 0), ("simulated", 1), ("simulated", 2)):
        sample = synthesizer.sample(kind, 0, index)
        parts = sample_parts(synthesizer.materials, sample)
        pictures = dict(zip(COLUMNS, parts.pictures, strict=True))
        assert all(picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8 for picture in pictures.values())
        normal = synthesizer.materials.normals[sample.plan.background]
        assert np.array_equal(pictures["normal"], normal) and np.array_equal(pictures["result"], sample.image)
        assert np.array_equal(pictures["mask"][..., 0] > 0, sample.mask > 0)
        assert parts.caption.startswith(LABELS[sample.plan.strategy])
        shown = pictures["region or noise"]
        if kind == "extended":
            assert (shown != 128).any()
        else:
            assert shown.std() > 10


@pytest.mark.parametrize(
    ("overrides", "strategies"),
    [
        ({}, 3),
        ({"extended": False}, 2),
        ({"heterologous": False, "homologous": False}, 1),
        ({"heterologous_share": 1.0}, 2),
    ],
)
def test_the_contact_sheet_has_its_rows(tmp_path, overrides, strategies):
    path = tmp_path / "synthesis.png"
    contact_sheet(make(**overrides), path, rows_per_kind=1, title="disc")
    sheet = cv2.imread(str(path))
    assert sheet.shape[0] == pytest.approx(75 + strategies * (HEIGHT + 6), abs=2)
    assert sheet.shape[1] == pytest.approx(100 + 6 * (WIDTH + 6), abs=2)


def test_the_same_sheet_twice(tmp_path):
    for name in ("first.png", "again.png"):
        contact_sheet(make(extended=False, homologous=False), tmp_path / name, rows_per_kind=1)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_the_foreground_sheet(tmp_path):
    path = tmp_path / "foreground.png"
    foreground_sheet(make(), path, count=7, title="disc")
    sheet = cv2.imread(str(path))
    assert sheet is not None and (sheet == (255, 0, 255)).all(axis=2).any()  # the outline


def test_samples_as_files(tmp_path):
    synthesizer = make()
    paths = write_samples(synthesizer, tmp_path / "samples", per_kind=3)
    assert [path.name for path in paths[:2]] == ["extended_000.png", "extended_000_mask.png"]
    assert len(paths) == 12 and all(path.is_file() for path in paths)
    image = cv2.cvtColor(cv2.imread(str(paths[0])), cv2.COLOR_BGR2RGB)
    mask = cv2.imread(str(paths[1]), cv2.IMREAD_GRAYSCALE)
    sample = synthesizer.sample("extended", 0, 0)
    assert np.array_equal(image, sample.image) and np.array_equal(mask, sample.mask * 255)
    assert len(write_samples(make(extended=False), tmp_path / "few", per_kind=2)) == 4
