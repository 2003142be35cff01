"""The command line: one sub-command a stage and tool, nothing but argument parsing and exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 data missing, 4 data corrupt, 143 stopped by SIGTERM.
"""

import argparse
import datetime
import importlib
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from prn.devices import keep_to_given_cores, one_gpu
from prn.errors import PrnError, SettingsError
from prn.provenance.checkout import check_checkout, check_code
from prn.stages.names import STAGES, Stage
from prn.tools.names import TOOLS, Tool

COMMANDS: dict[str, Stage | Tool] = {**STAGES, **TOOLS}


def parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands."""
    main_parser = argparse.ArgumentParser(
        prog="prn", description="PRN (CVPR 2023) as an honest benchmark, stage by stage."
    )
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="STAGE")
    for name, entry in COMMANDS.items():
        command = commands.add_parser(name, help=entry.does, description=f"{entry.does[0].upper()}{entry.does[1:]}.")
        _add_settings(command)
        _add_cell(command, entry.cell)
        command.add_argument("--settings", help=argparse.SUPPRESS)  # the stage's settings as JSON, from the workflow
        command.add_argument("--execution", default="{}", help=argparse.SUPPRESS)  # and those that change no result
        command.add_argument("--code", help=argparse.SUPPRESS)  # the digest of the code that the job was planned with
        if name == "estimate":
            command.add_argument("--cores", type=int, help="cores that snakemake will be given (default: all)")
        if name == "predict":
            command.add_argument("--images", type=Path, help="score this folder of images instead of the test set")
            command.add_argument("--out", type=Path, help="with --images: the folder for scores and score maps")
            command.add_argument(
                "--overlays", action="store_true", help="with --images: also pictures of the score maps"
            )
    _add_tools(commands)
    return main_parser


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; the exit code."""
    options = parser().parse_args(arguments)
    try:
        check_checkout(Path(), *([options.root] if hasattr(options, "root") else []))
        if options.command == "miniature":
            from prn.tools.miniature import build_miniatures

            build_miniatures(options.out)
        elif options.command == "publish":
            from prn.tools.publish import publish

            print(publish(options.source, options.target, datetime.date.today()))
        elif options.command == "adopt":
            from prn.settings.loading import load_settings
            from prn.tools.adopt import adopt

            files = [path.resolve() for path in (options.params, *options.preset)]
            settings = load_settings(*files)
            _enter(options.root)
            print(adopt(settings, files, dry_run=options.dry_run))
        elif options.command == "sources":
            from prn.settings.loading import load_settings
            from prn.tools.sources import sources

            settings = load_settings(options.params, *options.preset)
            _enter(options.root)
            print(sources(settings))
        else:
            _run_job(options)
    except PrnError as error:
        print(f"prn {options.command}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 1
    return 0


def _add_cell(command: argparse.ArgumentParser, cell: tuple[str, ...]) -> None:
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


def _add_tools(commands: Any) -> None:
    """The tools with options of their own."""
    adopt = commands.add_parser("adopt", help="take over files that were pulled or copied, where they are today's")
    _add_settings(adopt)
    adopt.add_argument("--dry-run", action="store_true", help="only say what would be taken over and what not")
    _add_settings(commands.add_parser("sources", help="digests of users' own images, archives and weights, for DVC"))
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


def _run_job(options: argparse.Namespace) -> None:
    from prn.settings.loading import load_settings
    from prn.settings.views import execution, from_view
    from prn.stages.cells import check_spelling, completed
    from prn.stages.job import Job
    from prn.stages.plan import job_of

    command: str = options.command
    stage = TOOLS[command].stage if command in TOOLS else command
    names = COMMANDS[command].cell
    cell = {name: value for name in names if (value := getattr(options, name)) is not None}
    check_spelling(cell)
    if options.settings is not None:
        stage_view, run_with = _json(options.settings), _json(options.execution)
        from_view(stage_view, stage, run_with=run_with)  # refuses what the stage does not read
        job = Job(stage, stage_view, **cell, execution=run_with)
    else:
        settings = load_settings(options.params, *options.preset)
        job = job_of(settings, stage, completed(cell, names, settings))
        job = replace(job, execution=execution(settings, job.variant), options=_typed(options))
    check_code(options.code, job.code())
    own = _folder_of_images(options)
    _enter(options.root)
    keep_to_given_cores()
    os.environ.setdefault("TQDM_MININTERVAL", "30")  # seconds between a library's progress lines, for the log's sake
    with one_gpu() if command in STAGES and STAGES[command].gpu else nullcontext():
        if own is not None:
            from prn.tools.score import run

            run(job, *own, overlays=options.overlays)
        else:
            room = "tools" if command in TOOLS else "stages"
            more = {"given_cores": options.cores} if command == "estimate" else {}
            importlib.import_module(f"prn.{room}.{command}").run(job, **more)


def _enter(root: Path) -> None:
    """Work in the folder `root`."""
    if not root.is_dir():
        raise SettingsError(f"--root {root}: no such folder")
    os.chdir(root)


def _typed(options: argparse.Namespace) -> tuple[str, ...]:
    """The options that a suggested command needs as well, as they were typed."""
    params = [] if options.params == Path("params.yaml") else ["--params", str(options.params)]
    presets = [part for preset in options.preset for part in ("--preset", str(preset))]
    return (*params, *presets, *(() if options.root == Path() else ("--root", str(options.root))))


def _folder_of_images(options: argparse.Namespace) -> tuple[Path, Path] | None:
    """`predict --images --out` as absolute paths (they are relative to where the user stands, not to `--root`)."""
    if options.command != "predict":
        return None
    if (options.images is None) != (options.out is None) or (options.overlays and options.images is None):
        raise SettingsError("--images and --out belong together (and --overlays to both)")
    return None if options.images is None else (options.images.resolve(), options.out.resolve())


def _json(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"--settings, --execution: not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"--settings, --execution: found {data!r}, expected sections with keys")
    return data


if __name__ == "__main__":
    sys.exit(main())
