"""The data card: counts by hand from the small world's images, and what was dropped, moved and lost."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from prn.datasets.images import TextureTensors
from prn.datasets.rows import IndexRow, write_index
from prn.reporting.data_card import data_card_page
from prn.reporting.document import Bullets, Table, markdown
from prn.reporting.results import Results, planned_runs
from prn.splits import make_split, save_split
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
    counts, types, areas, sums = [block for block in page.blocks if isinstance(block, Table)][:4]
    # 8 normals to train, 6 good and 4 + 4 defective to test, of which two are seen; images of 100x80.
    assert counts.rows == [["bottle", "8", "0", "6", "8", "8", "2", "6", "6", "100x80"]]
    assert [row[:4] for row in types.rows] == [["bottle", "crack", "4", "0"], ["bottle", "stain", "4", "0"]]
    assert types.header[4:] == ["Seen, seed 42", "Seen, seed 43"]
    assert [sum(int(row[column]) for row in types.rows) for column in (4, 5)] == [2, 2]
    assert [row[:2] for row in areas.rows] == [["bottle", "crack"], ["bottle", "stain"]]
    assert all(sum(int(cell) for cell in row[5:]) == 4 for row in areas.rows)
    index = hashlib.sha256((root / "data/index/mvtec/bottle.csv").read_bytes()).hexdigest()
    split = hashlib.sha256((root / "data/splits/mvtec/bottle/seed43.json").read_bytes()).hexdigest()
    assert (sums.rows[0][1], sums.rows[0][3]) == (f"`{index[:16]}`", f"`{split[:16]}`")
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
    sidecar.write_text(json.dumps({"record": {"lost_regions": 3, "masks_with_lost_regions": 2}}), encoding="utf-8")
    receipt = root / "data/receipts/mvtec.json"
    receipt.parent.mkdir()
    receipt.write_text(json.dumps({"archives": {"a.tar.xz": "ab" * 32}}), encoding="utf-8")
    text = card(root, settings)
    file.write_text(before, encoding="utf-8")
    assert "seed 42: 1 image dropped (the same bytes as a test image)" in text
    assert "seed 42: 1 training anomaly moved to the test set" in text
    assert "3 defect regions in 2 of 8 masks would vanish at 32x32; each keeps one pixel" in text
    assert f"archive `a.tar.xz`, sha256 `{'ab' * 32}`" in text


def row(path: str, label: int, digest: str, area: int = 0) -> IndexRow:
    kind, mask = ("bent", f"m/{path}") if label else ("good", "")
    return IndexRow(
        path, "test" if path[0] == "t" else "train", kind, label, mask if area else "", 10, 20, digest, "", area
    )


def test_areas_remarks_and_sizes_of_a_written_index(tmp_path: Path) -> None:
    """Masks of 1, 3 and 100 of 200 pixels, one defect without, one image with both labels; said once for both seeds."""
    settings = make_settings({"own": ["part"]}, ["untrained"], [42, 43])
    rows = [
        row("n/0", 0, "a"),
        row("n/1", 0, "b"),
        row("t/0", 1, "c", 1),
        row("t/1", 1, "d", 3),
        row("t/2", 1, "e", 100),
    ]
    rows += [row("t/3", 1, "f"), row("t/4", 0, "f"), row("t/5", 0, "b")]
    write_index(rows, tmp_path / "data/index/own/part.csv")
    for seed in (42, 43):
        split = make_split(rows, "own", "part", seed, seen_anomalies=1)
        save_split(split, tmp_path / f"data/splits/own/part/seed{seed}.json")
    page = data_card_page(tmp_path, settings, Results([], planned_runs(settings)))
    counts, types, areas = [block for block in page.blocks if isinstance(block, Table)][:3]
    assert counts.rows == [["part", "2", "0", "2", "4", "1", "1", "2", "3", "10x20"]]
    assert types.rows[0][:4] == ["part", "bent", "4", "1"]
    assert areas.header[5:] == ["0-0.1 %", "0.1-0.4 %", "0.4-1.6 %", "1.6-6.4 %", "6.4-100 %"]
    assert areas.rows == [["part", "bent", "0.50 %", "1.5 %", "50 %", "0", "0", "2", "0", "1"]]
    text = markdown(page)
    assert text.count("1 image dropped (the same bytes as a test image)") == 1
    assert "- part: 1 image dropped" in text
    assert "- part: 1 of 4 anomalies have no mask: pixel metrics are n/a" in text
    assert "- part: `t/4` and `t/3` are the same image" in text
    assert "vanish" not in text


def test_a_category_without_masks_has_no_areas(tmp_path: Path) -> None:
    settings = make_settings({"own": ["part"]}, ["untrained"], [42])
    write_index([row("n/0", 0, "a"), row("t/0", 1, "c")], tmp_path / "data/index/own/part.csv")
    text = card(tmp_path, settings)
    assert "| part | bent | 1 | 1 | n/a |" in text
    assert "Defect areas" not in text


def test_textures_are_counted_by_folder(tmp_path: Path) -> None:
    settings = make_settings({"own": ["part"]}, ["untrained"], [42])
    paths = ["images/a/1.jpg", "images/a/2.jpg", "images/b/1.jpg"]
    cache = TextureTensors(np.zeros((3, 8, 8, 3), np.uint8), paths, "")
    cache.save(tmp_path / "data/tensors/dtd/textures/8.safetensors")
    assert "3 textures in 2 folders, at 8x8" in card(tmp_path, settings)


def test_the_licence_of_ones_own_images_is_as_the_settings_say(world) -> None:
    root, settings = world
    assert "its licence is not known here (setting `report.credits`)" in card(root, settings)
    stated = settings.changed(report=settings.report.changed(credits={"own": "made by us, CC0"}))
    text = card(root, stated)
    assert "a data set of the user's own: made by us, CC0" in text
    assert "not known here" not in text


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    settings = make_settings({"btad": ["01"]}, ["prn"], [42])
    page = data_card_page(tmp_path, settings, Results([], planned_runs(settings)))
    lines = [item for block in page.blocks if isinstance(block, Bullets) for item in block.items]
    assert "01: not indexed" in lines
    assert "not obtained in this run" in lines
