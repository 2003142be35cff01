"""The table of stages: what each does, which names of a cell it takes, and the artefact that it makes."""

from dataclasses import dataclass

from prn import layout

CELL = ("dataset", "category", "variant", "seed")


@dataclass(frozen=True)
class Stage:
    """A stage: what it does in words, the names of a cell on its command line, the pattern of its artefact.

    beside: patterns of further files that it writes with the artefact. cache: its absence reruns nothing.
    gpu: it computes on a GPU where there is one, and holds that GPU alone.
    """

    does: str
    cell: tuple[str, ...]
    artefact: str
    beside: tuple[str, ...] = ()
    cache: bool = False
    gpu: bool = False


STAGES = {
    "download": Stage(
        "fetch, check and extract a data set (or take over the user's folder)", ("dataset",), layout.RECEIPT
    ),
    "index": Stage(
        "list a category's images with types, masks, sizes and hashes", ("dataset", "category"), layout.INDEX
    ),
    "weights": Stage("put the ImageNet weights of a variant's encoder into place", ("variant",), layout.BACKBONE),
    "split": Stage("draw the seen anomalies and fix the test set", ("dataset", "category", "seed"), layout.SPLIT),
    "tensors": Stage("decode and resize a category's images once", ("dataset", "category"), layout.TENSORS, cache=True),
    "prototypes": Stage("cluster the normal feature maps", CELL, layout.PROTOTYPES, gpu=True),
    "train": Stage(
        "fit a variant's method on the split",
        CELL,
        layout.CHECKPOINT,
        beside=(layout.TRAINING_LOG, layout.RUN_CARD),
        gpu=True,
    ),
    "predict": Stage(
        "score the test images and time an image",
        CELL,
        layout.PREDICTIONS,
        beside=(layout.TIMING,),
        cache=True,
        gpu=True,
    ),
    "evaluate": Stage("compute the metrics", CELL, layout.METRICS),
    "report": Stage("write the pages, tables and figures", (), layout.RESULTS),
}

# The pattern of an artefact -> the stage that makes it.
MAKERS = {stage.artefact: name for name, stage in STAGES.items()}
