"""Tool `synthesize`: the synthetic anomalies of a training, as a contact sheet and as files to look at."""

from prn import layout
from prn.stages.inputs import inputs_of
from prn.stages.job import Job
from prn.synthesis import Synthesizer, foreground_rule
from prn.synthesis.sheet import contact_sheet, foreground_sheet, write_samples

ROWS, SAMPLES = 4, 16


def run(job: Job) -> None:
    """Write `data/synthesis/<dataset>/<category>/<variant>/`: the sheet, the foregrounds, images with their masks.

    Raises `DataMissing` without split, tensors or textures, and where no seen anomaly has a mask.
    """
    synthesizer = synthesizer_of(job)
    folder = job.path(layout.SYNTHESIS)
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / f"{job.category}-synthesis.png"
    contact_sheet(synthesizer, sheet, ROWS, title=job.label)
    foreground_sheet(synthesizer, folder / f"{job.category}-foreground.png", title=job.label)
    files = write_samples(synthesizer, folder, SAMPLES)
    print(f"{sheet}: the contact sheet; {len(files) // 2} samples with their masks beside it")
    print(f"foreground: {100 * synthesizer.foreground_coverage:.1f} % of a normal image on average")


def synthesizer_of(job: Job) -> Synthesizer:
    """The synthesizer that a training of this cell uses, from its split, cached tensors and textures."""
    settings = job.settings
    inputs = inputs_of(job, also=["textures"] if settings.synthesis.heterologous else [])
    seen = inputs.seen[: settings.train.shots]
    return Synthesizer(
        inputs.normals,
        inputs.tensors.images[seen],
        inputs.tensors.masks[seen],
        [] if inputs.textures is None else inputs.textures,
        settings=settings.synthesis,
        seed=job.seed,
        foreground=foreground_rule(settings.synthesis.foreground, job.dataset, job.category),
    )
