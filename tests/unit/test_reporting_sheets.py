"""The contact sheet of the synthesis is made again from what a training's run card says."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prn import layout
from prn.datasets.images import TextureTensors
from prn.reporting.evidence import NoEvidence
from prn.reporting.mosaic import TILE
from prn.reporting.results import Run
from prn.reporting.sheets import synthesis_sheet
from prn.settings.sections import TensorSettings
from prn.settings.views import view
from tests.unit.reporting_world import SIZE, make_settings, make_world

RUN = Run("mvtec", "bottle", "prn", 42)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    settings = make_settings({"mvtec": ["bottle"]}, ["prn"], [42])
    make_world(tmp_path, settings, predictions=False)
    card = RUN.file(tmp_path, layout.RUN_CARD)
    data = json.loads(card.read_text(encoding="utf-8"))
    sized = settings.changed(tensors=TensorSettings(size=SIZE))
    data["settings"] = view(sized, "train", "mvtec", "bottle", "prn")
    card.write_text(json.dumps(data), encoding="utf-8")
    textures = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    TextureTensors(textures, [], "").save(tmp_path / f"data/tensors/dtd/textures/{SIZE}.safetensors")
    return tmp_path


def test_the_sheet_has_rows_of_every_kind(root: Path) -> None:
    synthesis_sheet(root, RUN, root / "sheet-synthesis.png")
    with Image.open(root / "sheet-synthesis.png") as picture:
        # Three rows each of EA, HEA and HOA, six columns.
        assert picture.height > 9 * TILE
        assert picture.width > 6 * TILE


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (f"data/tensors/dtd/textures/{SIZE}.safetensors", "textures"),
        (f"data/tensors/mvtec/bottle/{SIZE}.safetensors", "working tensors"),
        ("data/splits/mvtec/bottle/seed42.json", "split"),
        ("data/checkpoints/mvtec/bottle/prn/seed42.card.json", "run card"),
    ],
)
def test_what_is_not_kept_is_named(root: Path, missing: str, words: str) -> None:
    (root / missing).unlink()
    with pytest.raises(NoEvidence, match=words):
        synthesis_sheet(root, RUN, root / "sheet.png")
    assert not (root / "sheet.png").exists()


def test_a_card_without_the_synthesis_is_named(root: Path) -> None:
    card = RUN.file(root, layout.RUN_CARD)
    data = json.loads(card.read_text(encoding="utf-8"))
    del data["settings"]["synthesis"]
    card.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(NoEvidence, match="settings of the synthesis"):
        synthesis_sheet(root, RUN, root / "sheet.png")
