"""Stage `predict`: score maps, image scores and times of the test images; a cache."""

from pathlib import Path

from prn import layout
from prn.errors import DataMissing
from prn.inference import measure, predict
from prn.predictions import save_predictions
from prn.provenance.files import write_json
from prn.stages.fitted import fitted_method
from prn.stages.inputs import inputs_of
from prn.stages.job import Job
from prn.stages.tree import tree_base


def run(job: Job) -> None:
    """Write the predictions of the split's test images."""
    settings = job.settings.predict
    method, fitted = fitted_method(job)
    inputs = inputs_of(job)
    images, paths = inputs.tensors.images[inputs.test], inputs.split.test
    maps, scores = predict(method, images, settings.batch_size, f"{job.label} seed {job.seed}")
    save_predictions(job.artefact, maps, scores, paths)
    timing = measure(method, images, settings.batch_size, settings.timing_repeats, _files(job, paths))
    write_json(job.path(layout.TIMING), timing)
    job.finish([*fitted, *inputs.files.values(), *inputs.sources])
    print(f"{job.artefact}: {len(images)} score maps, {timing['batch1_median_s'] * 1e3:.0f} ms an image")


def _files(job: Job, paths: list[str]) -> list[Path]:
    """The images' own files, for the time with reading; none where the published tree is no longer here."""
    try:
        base = tree_base(job)
    except DataMissing:
        return []
    files = [base / path for path in paths]
    return files if all(file.is_file() for file in files) else []
