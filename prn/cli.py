"""The command line: one sub-command a stage, nothing but argument parsing and exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 data missing, 4 data corrupt, 143 stopped by SIGTERM.
"""

import argparse
import datetime
import importlib
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prn import layout
from prn.config import Settings, load_settings
from prn.devices import keep_to_given_cores, one_gpu
from prn.errors import PrnError, SettingsError
from prn.strict import suggestion
from prn.views import execution, view

# Sub-command: what it does, and which of the cell's names it takes.
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "download": ("fetch, check and extract a data set (or take over the user's folder)", ("dataset",)),
    "index": ("list a category's images with types, masks, sizes and hashes", ("dataset", "category")),
    "weights": ("put the encoder's ImageNet weights into place", ()),
    "split": ("draw the seen anomalies and fix the test set", ("dataset", "category", "seed")),
    "tensors": ("decode and resize a category's images once", ("dataset", "category")),
    "prototypes": ("cluster the normal feature maps", ("dataset", "category", "variant", "seed")),
    "train": ("fit a variant's method on the split", ("dataset", "category", "variant", "seed")),
    "predict": ("score the test images and time an image", ("dataset", "category", "variant", "seed")),
    "evaluate": ("compute the metrics", ("dataset", "category", "variant", "seed")),
    "report": ("write the pages, tables and figures", ()),
}
# Tools that look at a cell and make no artefact of the benchmark; each reads the settings of a stage.
TOOLS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "describe": ("print the network block by block; needs no data", ("variant",), "train"),
    "synthesize": (
        "write the contact sheet of the synthetic anomalies",
        ("dataset", "category", "variant", "seed"),
        "train",
    ),
    "estimate": ("say what the benchmark will need of time, memory and disk; needs no data", (), "report"),
    "verify": ("hold a category's files against its index", ("dataset", "category"), "index"),
}
# What computes on a GPU where there is one; it holds that GPU alone.
GPU_COMMANDS = ("prototypes", "train", "predict")
COMMANDS = {**STAGES, **{name: (text, cell) for name, (text, cell, _) in TOOLS.items()}}


def parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands."""
    main_parser = argparse.ArgumentParser(
        prog="prn", description="PRN (CVPR 2023) as an honest benchmark, stage by stage."
    )
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="STAGE")
    for name, (text, cell) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        _add_settings(command)
        if "dataset" in cell:
            command.add_argument(
                "--dataset", help="mvtec, dagm, btad, ksdd2, dtd, or one of your own (default: the category's)"
            )
        if "category" in cell:
            command.add_argument("--category", required=True, help="as published: bottle, Class10, 03, ksdd2")
        if "variant" in cell:
            command.add_argument("--variant", default="prn", help="a name under variants in params.yaml (default: prn)")
        if "seed" in cell:
            command.add_argument("--seed", type=int, help="default: the first of benchmark.seeds")
        if name == "estimate":
            command.add_argument("--cores", type=int, help="cores that snakemake will be given (default: all)")
        if name == "predict":
            command.add_argument("--images", type=Path, help="score this folder of images instead of the test set")
            command.add_argument("--out", type=Path, help="with --images: the folder for scores and score maps")
            command.add_argument(
                "--overlays", action="store_true", help="with --images: also pictures of the score maps"
            )
    miniature = commands.add_parser(
        "miniature", help="build the demo's small archives from photographs of scikit-image"
    )
    miniature.add_argument("--out", type=Path, required=True, help="folder for the archives")
    publish = commands.add_parser("publish", help="copy a preset's finished pages to reports/, small enough for git")
    publish.add_argument(
        "--from", dest="source", type=Path, required=True, help="the preset's work folder, runs/<preset>"
    )
    publish.add_argument(
        "--to", dest="target", type=Path, default=Path("reports"), help="or a folder in it, reports/<preset>"
    )
    return main_parser


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; the exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "miniature":
            from prn.datasets.miniature import build_miniatures

            build_miniatures(options.out)
        elif options.command == "publish":
            from prn.reporting.publish import publish

            print(publish(options.source, options.target, datetime.date.today()))
        else:
            _run_stage(options)
    except PrnError as error:
        print(f"prn {options.command}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 1
    return 0


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="settings file (default: params.yaml)"
    )
    command.add_argument(
        "--preset", type=Path, action="append", default=[], help="a file laid over it; may be repeated"
    )
    command.add_argument(
        "--root", type=Path, default=Path(), help="work folder that holds data/ and reports/ (default: .)"
    )
    command.add_argument(
        "--settings", help=argparse.SUPPRESS
    )  # the stage's resolved settings as JSON, from the workflow
    command.add_argument("--execution", default="{}", help=argparse.SUPPRESS)  # and those that change no result


def _run_stage(options: argparse.Namespace) -> None:
    from prn.stages.job import Job

    command: str = options.command
    stage = TOOLS[command][2] if command in TOOLS else command
    cell = {name: getattr(options, name, None) for name in ("dataset", "category", "variant", "seed")}
    if options.settings is not None:
        stage_view, run_with = _json(options.settings), _json(options.execution)
    else:
        settings = load_settings(options.params, *options.preset)
        run_with = execution(settings, cell["variant"] or "")
        cell = _complete(cell, settings, command)
        stage_view = view(settings, stage, cell["dataset"] or "", cell["category"] or "", cell["variant"] or "")
        if stage == "prototypes":
            stage_view = view(settings, stage, variant=cell["variant"])
    if not options.root.is_dir():
        raise SettingsError(f"--root {options.root}: no such folder")
    folder = _folder_of_images(options)
    os.chdir(options.root)
    job = Job(
        stage=stage,
        view=stage_view,
        dataset=cell["dataset"] or "",
        category=cell["category"] or "",
        variant=cell["variant"] or "",
        seed=cell["seed"] or 0,
        execution=run_with,
    )
    keep_to_given_cores()
    os.environ.setdefault("TQDM_MININTERVAL", "30")  # seconds between a library's progress lines, for the log's sake
    with one_gpu() if command in GPU_COMMANDS else nullcontext():
        if folder is not None:
            from prn.stages.score import run

            run(job, *folder, overlays=options.overlays)
        else:
            more = {"given_cores": options.cores} if command == "estimate" else {}
            importlib.import_module(f"prn.stages.{command}").run(job, **more)


def _folder_of_images(options: argparse.Namespace) -> tuple[Path, Path] | None:
    """`predict --images --out` as absolute paths (they are relative to where the user stands, not to `--root`)."""
    if options.command != "predict":
        return None
    if (options.images is None) != (options.out is None) or (options.overlays and options.images is None):
        raise SettingsError("--images and --out belong together (and --overlays to both)")
    return None if options.images is None else (options.images.resolve(), options.out.resolve())


def _json(text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(f"--settings, --execution: not valid JSON: {error}") from error


def _complete(cell: dict[str, Any], settings: Settings, command: str) -> dict[str, Any]:
    """Fill in the data set of a category and the first seed; check names against the settings and the registry."""
    names = COMMANDS[command][1]
    if cell["category"] and not cell["dataset"]:
        cell["dataset"] = _owner(cell["category"], settings)
    if "dataset" in names:
        _check_names(cell["dataset"], cell["category"], settings)
    if "seed" in names and cell["seed"] is None:
        cell["seed"] = settings.benchmark.seeds[0]
    return cell


def _owner(category: str, settings: Settings) -> str:
    """The data set that a category of the settings belongs to."""
    runs = settings.benchmark.datasets
    owners = [name for name, run in runs.items() if category in run.categories]
    if len(owners) > 1:
        raise SettingsError(f"--category {category}: stands in {' and '.join(owners)}; name its --dataset too")
    if not owners:
        known = [name for run in runs.values() for name in run.categories]
        hint = suggestion(category, known)
        raise SettingsError(f"--category {category}: not in benchmark.datasets; {hint} (or name its --dataset too)")
    return owners[0]


def _check_names(dataset: str | None, category: str | None, settings: Settings) -> None:
    """Refuse a data set that nobody knows, and a category that its published archive does not hold."""
    from prn.datasets.registry import category_names, dataset_names

    published = dataset_names()
    known = list(dict.fromkeys([*published, *settings.benchmark.datasets]))
    if not dataset:
        raise SettingsError(f"--dataset: missing; known: {', '.join(known)}")
    if dataset not in known:
        hint = suggestion(dataset, known)
        raise SettingsError(
            f"--dataset {dataset}: unknown; {hint} (one of your own stands in benchmark.datasets and download.sources)"
        )
    own = dataset not in published or dataset in settings.download.sources or dataset == layout.TEXTURES["dataset"]
    if category and not own and category not in category_names(dataset):
        hint = suggestion(category, category_names(dataset))
        raise SettingsError(f"--category {category}: {dataset} has no such category; {hint}")


if __name__ == "__main__":
    sys.exit(main())
