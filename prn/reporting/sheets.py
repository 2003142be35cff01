"""The contact sheet of a training's synthetic anomalies, made again from what its run card says."""

import json
from pathlib import Path

from prn import layout
from prn.datasets.images import CategoryTensors, load_textures
from prn.errors import PrnError
from prn.fitting import FitInputs
from prn.reporting.evidence import NoEvidence
from prn.reporting.mosaic import Tile, write_mosaic
from prn.reporting.results import Run
from prn.settings.views import from_view
from prn.splits import load_split
from prn.synthesis import Sample, Synthesizer, synthesizer_of
from prn.synthesis.batch import Kind
from prn.synthesis.sheet import COLUMNS, sample_parts

ROWS = 3
# How far a rare kind is looked for (a share of 0 or 1 leaves one out).
MOST_SAMPLES = 200


def synthesis_sheet(root: Path, run: Run, path: Path) -> None:
    """Write the sheet of a PRN training; raises `NoEvidence` where a file or setting that it needs is not kept."""
    card = run.file(root, layout.RUN_CARD)
    if not card.is_file():
        raise NoEvidence("the run card is not kept here")
    try:
        settings = from_view(json.loads(card.read_text(encoding="utf-8"))["settings"], "train")
        synthesis, size, shots = settings.synthesis, settings.tensors.size, settings.train.shots
    except (PrnError, AttributeError, KeyError, ValueError) as error:
        raise NoEvidence("the run card does not hold the settings of the synthesis") from error
    split_file = root / "data" / "splits" / run.dataset / run.category / f"seed{run.seed}.json"
    tensor_file = root / "data" / "tensors" / run.dataset / run.category / f"{size}.safetensors"
    texture_file = root / "data" / "tensors" / "dtd" / "textures" / f"{size}.safetensors"
    needed = {"split": split_file, "working tensors": tensor_file}
    if synthesis.heterologous:
        needed["textures"] = texture_file
    for what, file in needed.items():
        if not file.is_file():
            raise NoEvidence(f"the {what} of {run.category} are not kept here")
    try:
        split, tensors = load_split(split_file), CategoryTensors.load(tensor_file)
        seen = tensors.index_of(split.seen)
        inputs = FitInputs(
            dataset=run.dataset,
            category=run.category,
            seed=run.seed,
            normals=tensors.images[tensors.index_of(split.train_normal)],
            seen=tensors.images[seen],
            seen_masks=tensors.masks[seen],
            textures=load_textures(texture_file) if synthesis.heterologous else None,
        )
    except PrnError as error:
        raise NoEvidence(f"the files of {run.category} that it is made from cannot be read") from error
    synthesizer = synthesizer_of(inputs, synthesis, shots)
    parts = [sample_parts(synthesizer.materials, sample) for sample in _first_samples(synthesizer)]
    rows = [[Tile(picture) for picture in part.pictures] for part in parts]
    write_mosaic(rows, [part.caption for part in parts], list(COLUMNS), path)


def _first_samples(synthesizer: Synthesizer) -> list[Sample]:
    """The first samples of epoch 0, `ROWS` of each kind of anomaly that the settings switch on."""
    settings, chosen = synthesizer.settings, []
    both = settings.heterologous and settings.homologous
    wanted: list[tuple[Kind, str | None]] = [("extended", None)] if settings.extended else []
    if not both and (settings.heterologous or settings.homologous):
        wanted.append(("simulated", None))
    if both:
        wanted += [("simulated", name) for name in ("heterologous", "homologous")]
    for kind, strategy in wanted:
        found = 0
        for index in range(MOST_SAMPLES):
            if strategy in (None, synthesizer.plan(kind, 0, index).strategy):
                chosen.append(synthesizer.sample(kind, 0, index))
                found += 1
            if found == ROWS:
                break
    return chosen
