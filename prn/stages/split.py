"""Stage `split`: the few-shot split of a category for one seed."""

from prn import layout
from prn.datasets.rows import read_index
from prn.splits import make_split, save_split
from prn.stages.job import Job


def run(job: Job) -> None:
    """Write the category's split."""
    settings = job.settings.split
    index = job.needed(layout.INDEX)
    split = make_split(
        read_index(index),
        job.dataset,
        job.category,
        job.seed,
        seen_anomalies=settings.seen_anomalies,
        ksdd2_train_anomalies=settings.ksdd2_train_anomalies,
    )
    save_split(split, job.artefact)
    job.finish([index])
    training = f"{len(split.train_normal)} normal and {len(split.seen)} seen for training"
    print(f"{job.artefact}: {training}, {len(split.test)} for the test")
