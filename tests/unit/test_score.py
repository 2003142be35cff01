"""A user's own folder through a trained model: `prn predict --images`."""

import csv
import json

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from prn import layout
from prn.cli import main
from prn.settings.loading import load_settings
from prn.settings.views import view

SIZE = 32


@pytest.fixture
def work(tmp_path, project, monkeypatch):
    """A work folder with a checkpoint of the method `mean-image`, and six images, the last with a bright spot."""
    monkeypatch.chdir(tmp_path)
    normal = np.full((48, 40, 3), 90, np.uint8)
    for name in ("a/1.png", "a/2.jpg", "b/1.png", "b/3.png", "4.bmp", "spot.png"):
        picture = normal.copy()
        if name == "spot.png":
            picture[10:26, 10:26] = 250
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    (tmp_path / "images/notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "work").mkdir()
    preset = tmp_path / "preset.yaml"
    preset.write_text(f"tensors: {{size: {SIZE}}}\npredict: {{batch_size: 4}}\n", encoding="utf-8")
    return tmp_path, ["--params", str(project / "params.yaml"), "--preset", str(preset), "--root", "work"]


def call(work, *more):
    cell = ["--dataset", "mvtec", "--category", "bottle", "--variant", "mean-image", "--seed", "42"]
    return main(["predict", *work[1], *cell, *more])


def fitted(work):
    settings = load_settings(work[1][1], work[1][3])
    metadata = {"view": view(settings, "train", "mvtec", "bottle", "mean-image"), "inputs": {}}
    cell = {"dataset": "mvtec", "category": "bottle", "variant": "mean-image", "seed": 42}
    path = work[0] / "work" / layout.path(layout.CHECKPOINT, **cell)
    path.parent.mkdir(parents=True)
    save_file({"mean": np.full((SIZE, SIZE, 3), 90, np.float32)}, path, {"prn": json.dumps(metadata)})


def test_a_folder_is_scored_and_the_odd_image_comes_first(work, capsys):
    fitted(work)
    assert call(work, "--images", "images", "--out", "scored", "--overlays") == 0
    with (work[0] / "scored/scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["image"] == "spot.png"
    assert sorted(row["image"] for row in rows) == ["4.bmp", "a/1.png", "a/2.jpg", "b/1.png", "b/3.png", "spot.png"]
    assert float(rows[0]["score"]) > 10 * float(rows[1]["score"])
    stored = np.load(work[0] / "scored/score_maps.npz")
    assert stored["score_maps"].dtype == np.float16
    assert stored["score_maps"].shape == (6, SIZE, SIZE)
    spot = stored["score_maps"][list(stored["paths"]).index("spot.png")]
    top, left = np.unravel_index(spot.argmax(), spot.shape)
    assert 7 <= top <= 17
    assert 8 <= left <= 21
    drawn = sorted(path.relative_to(work[0] / "scored/overlays").as_posix() for path in work[0].rglob("*.png.png"))
    assert drawn == ["a/1.png.png", "b/1.png.png", "b/3.png.png", "spot.png.png"]
    assert "6 images scored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--images", "nowhere", "--out", "x"), 3, "nowhere: no such folder"),
        (("--images", "empty", "--out", "x"), 3, "holds no images"),
        (("--images", "images", "--out", "images/x"), 2, "lies in the folder of the images"),
        (("--images", "images"), 2, "--images and --out belong together"),
        (("--overlays",), 2, "belong together"),
        (("--images", "broken", "--out", "x"), 4, "broken.png"),
    ],
)
def test_what_cannot_be_done_is_said(work, capsys, more, code, words):
    fitted(work)
    for name in ("empty", "broken"):
        (work[0] / name).mkdir()
    (work[0] / "broken/broken.png").write_bytes(b"no picture")
    assert call(work, *more) == code
    assert words in capsys.readouterr().err
    assert not (work[0] / "x").exists()


def test_a_missing_checkpoint_names_the_stage_that_makes_it(work, capsys):
    assert call(work, "--images", "images", "--out", "x") == 3
    assert "python -m prn train --dataset mvtec --category bottle" in capsys.readouterr().err
