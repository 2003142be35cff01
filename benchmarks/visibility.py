r"""How many synthetic anomalies can nobody see? With and without drawing them again (training images only).

Of each kind, the share that changes the normal image under its mask by less than 8 grey levels in the mean, and the
share whose mask covers less than 0.02 % of the image; and of all their marked pixels the share that changes by less
than 8 grey levels, with `synthesis.least_change`, `least_mask` and `least_pixel_change` at 0 and as set.

    snakemake --directory runs/real-cpu --configfile workflow/presets/real-cpu.yaml --cores 2 -- \
        phase_download phase_prototypes
    python -m prn tensors --dataset dtd --category textures --root runs/real-cpu --preset workflow/presets/real-cpu.yaml
    python benchmarks/visibility.py --root runs/real-cpu --preset workflow/presets/real-cpu.yaml --category bottle pill
"""

import argparse
from pathlib import Path

import numpy as np

from prn import layout
from prn.datasets.images import CategoryTensors, load_textures
from prn.fitting import FitInputs
from prn.settings.loading import load_settings
from prn.settings.sections import SynthesisSettings
from prn.splits import load_split
from prn.synthesis import Synthesizer, synthesizer_of

PROJECT = Path(__file__).resolve().parents[1]
UNSEEN, SPECK = 8.0, 2e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="work folder with prototypes and the textures")
    parser.add_argument("--preset", type=Path, required=True)
    parser.add_argument("--category", nargs="+", required=True)
    parser.add_argument("--dataset", default="mvtec")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--samples", type=int, default=1000, help="of each kind")
    arguments = parser.parse_args()
    settings = load_settings(PROJECT / "params.yaml", arguments.preset)
    print("| Category | Kind | Drawn again | Below 8 grey levels | Specks | Marked pixels below 8 |")
    print("| :-- | :-- | :-- | --: | --: | --: |")
    for category in arguments.category:
        for again in (False, True):
            synthesis = settings.synthesis
            if not again:
                synthesis = synthesis.changed(least_change=0.0, least_mask=0.0, least_pixel_change=0.0)
            synthesizer, normals = make(arguments, category, settings.tensors.size, synthesis)
            for kind in ("extended", "simulated"):
                unseen, specks, faint = shares(synthesizer, normals, kind, arguments.samples)
                drawn = "yes" if again else "no"
                cells = " | ".join(f"{100 * share:.1f} %" for share in (unseen, specks, faint))
                print(f"| {category} | {kind} | {drawn} | {cells} |", flush=True)


def make(
    arguments: argparse.Namespace, category: str, size: int, synthesis: SynthesisSettings
) -> tuple[Synthesizer, np.ndarray]:
    """The synthesizer of a category's training side, and the normal images."""
    cell = {"dataset": arguments.dataset, "category": category, "seed": arguments.seed}
    split = load_split(arguments.root / layout.SPLIT.format(**cell))
    tensors = CategoryTensors.load(arguments.root / layout.TENSORS.format(**cell, size=size))
    seen = tensors.index_of(split.seen)
    inputs = FitInputs(
        **cell,
        normals=tensors.images[tensors.index_of(split.train_normal)],
        seen=tensors.images[seen],
        seen_masks=tensors.masks[seen],
        textures=load_textures(arguments.root / layout.TENSORS.format(**layout.TEXTURES, size=size)),
    )
    return synthesizer_of(inputs, synthesis, len(seen)), inputs.normals


def shares(synthesizer: Synthesizer, normals: np.ndarray, kind: str, samples: int) -> tuple[float, float, float]:
    """(share that cannot be seen, share of specks, share of faint marked pixels) in the first samples of epoch 0."""
    unseen = specks = faint = marked = 0
    for index in range(samples):
        sample = synthesizer.sample(kind, 0, index)
        inside = sample.mask > 0
        background = normals[sample.plan.background]
        change = np.abs(sample.image[inside].astype(np.int32) - background[inside]).mean(axis=1)
        unseen += change.mean() < UNSEEN
        specks += inside.mean() < SPECK
        faint += int((change < UNSEEN).sum())
        marked += len(change)
    return unseen / samples, specks / samples, faint / marked


if __name__ == "__main__":
    main()
