"""Tool `synthesize`: the synthetic anomalies of a training, as a contact sheet and as files to look at."""

from prn import layout
from prn.stages.inputs import fit_inputs, inputs_of
from prn.stages.job import Job
from prn.synthesis import synthesizer_of
from prn.synthesis.sheet import contact_sheet, foreground_sheet, write_samples

ROWS, SAMPLES = 4, 16


def run(job: Job) -> None:
    """Write `data/synthesis/<dataset>/<category>/<variant>/`: the sheet, the foregrounds, images with their masks.

    Raises `DataMissing` without split, tensors or textures, and where no seen anomaly has a mask.
    """
    settings = job.settings
    inputs = inputs_of(job, also=["textures"] if settings.synthesis.heterologous else [])
    synthesizer = synthesizer_of(fit_inputs(job, inputs), settings.synthesis, settings.train.shots)
    folder = job.path(layout.SYNTHESIS)
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / f"{job.category}-synthesis.png"
    contact_sheet(synthesizer, sheet, ROWS, title=job.label)
    foreground_sheet(synthesizer, folder / f"{job.category}-foreground.png", title=job.label)
    files = write_samples(synthesizer, folder, SAMPLES)
    print(f"{sheet}: the contact sheet; {len(files) // 2} samples with their masks beside it")
    print(f"foreground: {100 * synthesizer.foreground_coverage:.1f} % of a normal image on average")
