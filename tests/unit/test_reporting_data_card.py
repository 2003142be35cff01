"""The data card: counts by hand from the small world's images, and what was dropped, moved and lost."""

import json
from pathlib import Path

import pytest

from prn.reporting.data_card import data_card_page
from prn.reporting.document import Bullets, Table, markdown
from prn.reporting.results import Results, planned_runs
from tests.unit.reporting_world import make_settings, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("card")
    settings = make_settings({"mvtec": ["bottle"], "own": ["part"]}, ["untrained"], [42, 43])
    make_world(root, settings, predictions=False)
    return root, settings


def card(root: Path, settings) -> str:
    page = data_card_page(root, settings, Results([], planned_runs(settings)))
    assert all(block for block in page.blocks)
    return markdown(page)


def test_counts_types_and_terms(world) -> None:
    root, settings = world
    page = data_card_page(root, settings, Results([], planned_runs(settings)))
    counts, types = [block for block in page.blocks if isinstance(block, Table)][:2]
    # 8 normals to train, 6 good and 4 + 4 defective to test, of which two are seen; images of 100x80.
    assert counts.rows == [["bottle", "8", "0", "6", "8", "8", "2", "6", "6", "100x80"]]
    assert [row[:4] for row in types.rows] == [["bottle", "crack", "4", "0"], ["bottle", "stain", "4", "0"]]
    assert all(sum(int(cell) for cell in row[7:12]) == 4 for row in types.rows)
    seen = [row[-1] for row in types.rows]
    assert sum(int(text.split(" ")[0]) for text in seen) == 2
    text = markdown(page)
    assert "CC BY-NC-SA 4.0" in text
    assert "a data set of the user's own" in text
    assert "train: 8 images, published are 209" in text


def test_dropped_moved_and_lost_are_named(world, tmp_path: Path) -> None:
    root, settings = world
    file = root / "data/splits/mvtec/bottle/seed42.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    data["dropped"] = {"bottle/train/good/000.png": "the same bytes as a test image"}
    data["moved"] = ["bottle/train/crack/000.png"]
    before = file.read_text(encoding="utf-8")
    file.write_text(json.dumps(data), encoding="utf-8")
    sidecar = root / "data/tensors/mvtec/bottle/32.safetensors.prov.json"
    sidecar.write_text(json.dumps({"record": {"lost_regions": 3}}), encoding="utf-8")
    receipt = root / "data/receipts/mvtec.json"
    receipt.parent.mkdir()
    receipt.write_text(json.dumps({"archives": {"a.tar.xz": "ab" * 32}}), encoding="utf-8")
    text = card(root, settings)
    file.write_text(before, encoding="utf-8")
    assert "seed 42: 1 image dropped, the same bytes as a test image" in text
    assert "seed 42: 1 training anomaly moved to the test set" in text
    assert "3 defect regions of all masks would vanish at 32x32" in text
    assert f"archive `a.tar.xz`, sha256 `{'ab' * 32}`" in text


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    settings = make_settings({"btad": ["01"]}, ["prn"], [42])
    page = data_card_page(tmp_path, settings, Results([], planned_runs(settings)))
    lines = [item for block in page.blocks if isinstance(block, Bullets) for item in block.items]
    assert "01: not indexed" in lines
    assert "not obtained in this run" in lines
