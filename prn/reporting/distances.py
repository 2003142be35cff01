"""What a trained model works on: the distance to the nearest prototype at each scale, beside score map and mask."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import Normalize
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from prn import layout
from prn.backbone import Backbone, normalise
from prn.errors import PrnError
from prn.prototypes import Prototypes, distance_maps
from prn.reporting.evidence import Evidence, NoEvidence
from prn.reporting.grids import Chosen, choose, colour_range, row_label
from prn.reporting.mosaic import ColourBar, Tile, coloured, truth_picture, write_mosaic

ROWS = 4


def distance_grid(root: Path, evidence: Evidence, path: Path) -> list[Chosen]:
    """Write the grid of input, distance maps of layer1 to layer3, score map and ground truth; returns its rows.

    Each scale's colours go from the median over the shown good images to the highest value over all shown images.
    Raises `NoEvidence` where the checkpoint, the encoder's weights or the prototypes are not kept, or it has none.
    """
    chosen = choose(evidence.image_scores, evidence.defective, ROWS)
    picked = [item.index for item in chosen]
    columns = _distances(root, evidence, evidence.images[picked])
    good = ~evidence.defective[picked]
    scales = [_scale(maps, good) for maps in columns]
    score_scale = Normalize(*colour_range(evidence), clip=True)
    tiles = []
    for row, index in enumerate(picked):
        line = [Tile(evidence.images[index])]
        line += [
            Tile(coloured(maps[row], scale), evidence.masks[index]) for maps, scale in zip(columns, scales, strict=True)
        ]
        line.append(Tile(coloured(evidence.score_maps[index], score_scale)))
        line.append(Tile(truth_picture(evidence.masks[index], bool(evidence.has_mask[index]))))
        tiles.append(line)
    titles = ["input", "layer1", "layer2", "layer3", "score map", "ground truth"]
    labels = [row_label(item, evidence) for item in chosen]
    write_mosaic(tiles, labels, titles, path, ColourBar(Normalize(0, 1), "stretched for each column"))
    return chosen


@torch.inference_mode()
def _distances(root: Path, evidence: Evidence, images: np.ndarray) -> list[np.ndarray]:
    """The distance maps [N, H, W] of the three scales, from the encoder and prototypes that the checkpoint names."""
    run = evidence.run
    card = _metadata(run.file(root, layout.CHECKPOINT))
    files = {name: root / place for name, place in card["inputs"].items() if name in ("backbone", "prototypes")}
    if "prototypes" not in files:
        raise NoEvidence
    for what, file in files.items():
        if not file.is_file():
            raise NoEvidence(f"the {what} of {run.variant} with seed {run.seed} are not kept here")
    try:
        prototypes = Prototypes.load(files["prototypes"])
        backbone = Backbone(card["view"]["model"]["backbone"], load_file(files["backbone"])).eval()
        features = backbone.frozen(normalise(torch.from_numpy(images)))
    except (PrnError, SafetensorError, KeyError) as error:
        raise NoEvidence(f"the frozen parts of {run.variant} with seed {run.seed} cannot be read") from error
    return [maps.numpy() for maps in distance_maps(features, prototypes.maps)]


def _metadata(checkpoint: Path) -> dict[str, Any]:
    if not checkpoint.is_file():
        raise NoEvidence("the checkpoint is not kept here")
    try:
        with safe_open(checkpoint, framework="pt") as stored:
            found: dict[str, Any] = json.loads(stored.metadata()["prn"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise NoEvidence("the checkpoint cannot be read") from error
    return found


def _scale(maps: np.ndarray, good: np.ndarray) -> Normalize:
    low = float(np.median(maps[good] if good.any() else maps))
    high = float(maps.max())
    return Normalize(low, high if high > low else low + 1.0, clip=True)
