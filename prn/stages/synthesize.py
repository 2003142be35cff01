"""Tool `synthesize`: the synthetic anomalies of a training, as a contact sheet and as files to look at."""

from prn import layout
from prn.datasets.images import load_textures
from prn.fitting import FitInputs
from prn.splits import load_split
from prn.stages.cache import category_tensors
from prn.stages.job import Job
from prn.stages.tensors import cached_textures
from prn.synthesis import Synthesizer, synthesizer_of
from prn.synthesis.sheet import contact_sheet, foreground_sheet, write_samples

ROWS, SAMPLES = 4, 16


def run(job: Job) -> None:
    """Write `data/synthesis/<dataset>/<category>/<variant>/`: the sheet, the foregrounds, images with their masks.

    Raises `DataMissing` without split, tensors or textures, and where no seen anomaly has a mask.
    """
    synthesizer = _synthesizer(job)
    folder = job.path(layout.SYNTHESIS)
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / f"{job.category}-synthesis.png"
    contact_sheet(synthesizer, sheet, ROWS, title=job.label)
    foreground_sheet(synthesizer, folder / f"{job.category}-foreground.png", title=job.label)
    files = write_samples(synthesizer, folder, SAMPLES)
    print(f"{sheet}: the contact sheet; {len(files) // 2} samples with their masks beside it")
    print(f"foreground: {100 * synthesizer.foreground_coverage:.1f} % of a normal image on average")


def _synthesizer(job: Job) -> Synthesizer:
    """The synthesizer that a training of this cell uses, from its split, cached tensors and textures."""
    settings = job.settings
    split, tensors = load_split(job.needed(job.path(layout.SPLIT), "split")), category_tensors(job)
    seen = tensors.index_of(split.seen)
    inputs = FitInputs(
        dataset=job.dataset,
        category=job.category,
        seed=job.seed,
        normals=tensors.images[tensors.index_of(split.train_normal)],
        seen=tensors.images[seen],
        seen_masks=tensors.masks[seen],
        textures=load_textures(cached_textures(job)) if settings.synthesis.heterologous else None,
    )
    return synthesizer_of(inputs, settings.synthesis, settings.train.shots)
