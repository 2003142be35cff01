# A finished run that nobody has touched since: Snakemake's own "nothing to be done" is given again without planning.
# A plan of thousands of jobs takes a quarter of a minute, also where it finds nothing. What it was about is kept beside
# Snakemake's records: the command's options, the settings, the code, what users' own folders list, and the state of each
# file and record that the plan looked at. While all of that is the same, so is the answer. A file that was merely touched,
# or any line of code that was edited, and Snakemake plans as ever.
import contextlib
import hashlib
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG, __version__
from snakemake.logging import logger

RECORDS = Path(".snakemake")
ANSWERS = RECORDS / "unchanged"
MANY = 1000  # jobs of a run, after which the answer is looked for at once: the next command then need not
# Groups of Snakemake's settings without a say in what is to be done (cores, order, messages); `config` itself counts.
IDLE = {f"{name}_settings" for name in ("resource", "scheduling", "output", "config", "global_report", "group")}


def state_of(path):
    """What any change of a file changes too, None where there is none: of it, and of what it is a link to."""
    try:
        found = [os.lstat(path), os.stat(path)]
    except OSError:
        return None
    return [[one.st_ctime_ns, one.st_mtime_ns, one.st_size, one.st_ino, one.st_dev] for one in found]


def code_files():
    """All files that can have a say in a plan: the Snakefile, this workflow and the package, linked folders too."""
    base = Path(workflow.basedir)
    yield Path(workflow.main_snakefile)
    for folder in (base / "workflow", base / "prn"):
        for place, folders, files in os.walk(folder, followlinks=True):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            yield from (Path(place) / name for name in sorted(files))


# Taken before the package is loaded: what is edited from here on counts as a change for the next command.
CODE_STATE = [(os.path.relpath(file, workflow.basedir), state_of(file)) for file in code_files()]


def options():
    """Snakemake's settings but the idle ones, and the targets with priority, as text that is the same in each process."""
    groups = {name: group for name, group in vars(workflow).items() if name.endswith("_settings") and name not in IDLE}
    found = {
        f"{name}.{key}": value
        for name, group in groups.items()
        for key, value in getattr(group, "__dict__", {}).items()
    }
    found["prioritytargets"] = workflow.scheduling_settings.prioritytargets
    return {
        name: sorted(map(str, value)) if isinstance(value, (set, frozenset, list, tuple)) else str(value)
        for name, value in found.items()
    }


def question():
    """Everything but the files of the plan that the answer depends on: (name of the targets, digest of all)."""
    rules = [file.get_path_or_uri(secret_free=True) for file in workflow.included]
    included = [(os.path.relpath(file, workflow.basedir), state_of(file)) for file in rules]
    listings = [listing_of(dataset, category) for dataset, category in CATEGORIES]
    everything = [options(), config, listings, own_textures(), CODE_STATE, included, __version__, sys.version]
    name, digest = (
        hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest()
        for part in (sorted(workflow.dag_settings.targets), everything)
    )
    return name[:16], digest


def answer(name, digest):
    """When Snakemake found nothing to be done, if nothing has changed since; else None."""
    busy = any(
        file for folder in ("locks", "incomplete") for _, _, files in os.walk(RECORDS / folder) for file in files
    )
    if busy:
        return None
    try:
        known = json.loads((ANSWERS / name).read_text(encoding="utf-8"))
        same = known["question"] == digest and known["states"] == [state_of(path) for path in known["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known["when"] if same else None


def remember(name, digest, before):
    """Keep the answer of a plan that found nothing to be done, unless something may have changed while it looked.

    `before` is the state of a file that was written as the planning began. Files on another file system, whose clock may
    differ from that one's, are not judged: Snakemake then plans each time.
    """
    from prn.artifacts import atomic_write

    persistence = workflow.persistence
    if before is None or not hasattr(persistence, "_record_path") or not hasattr(persistence, "_metadata_path"):
        return
    made_here = {str(file): file for job in workflow.dag.jobs for file in job.output}
    records = {str(persistence._record_path(persistence._metadata_path, file)) for file in made_here.values()}
    files = sorted({str(file) for job in workflow.dag.jobs for file in job.input} | made_here.keys() | records)
    states = [state_of(path) for path in files]
    (began, *_, device), _ = before
    if any(one[0] >= began or one[-1] != device for state in states if state for one in state):
        return
    known = {"when": f"{datetime.now():%Y-%m-%d %H:%M}", "question": digest, "files": files, "states": states}
    with atomic_write(ANSWERS / name) as temporary:
        temporary.write_text(json.dumps(known), encoding="utf-8")


def look_again():
    """The same command as a dry run, for its answer. Not with `--directory`: what its options name lies elsewhere by now."""
    if workflow.overwrite_workdir is None and Path(sys.argv[0]).name in ("snakemake", "__main__.py"):
        logger.info("Looking whether anything is left to be done.")
        command = [sys.executable, "-m", "snakemake", "--dry-run", *sys.argv[1:]]
        with contextlib.suppress(KeyboardInterrupt, OSError):
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def started():
    """The state of a file written now: it has the file system's own clock, which is not always this machine's."""
    clock = ANSWERS / "clock"
    with contextlib.suppress(OSError):
        ANSWERS.mkdir(parents=True, exist_ok=True)
        clock.write_text("", encoding="utf-8")
        return state_of(clock)


def answer_where_nothing_changed():
    """Ask for a kept answer before Snakemake plans a command that runs jobs (or shows them, with `--dry-run`)."""
    execute = workflow.execute

    def execute_or_answer(executor_plugin, *arguments, **more):
        touch = executor_plugin.common_settings.touch_exec
        if touch or not workflow.is_main_process or workflow.execution_settings.wait_for_files:
            return execute(executor_plugin, *arguments, **more)
        name, digest = question()
        when = answer(name, digest)
        if when:
            logger.info(f"{NOTHING_TO_BE_DONE_MSG}\nSo Snakemake found at {when}, and nothing has changed since.")
            return
        before = started()
        execute(executor_plugin, *arguments, **more)
        if not len(workflow.dag):
            with contextlib.suppress(Exception):  # an answer that cannot be kept is no reason to fail
                remember(name, digest, before)
        elif len(workflow.dag) >= MANY and not workflow.dryrun:
            look_again()

    workflow.execute = execute_or_answer


answer_where_nothing_changed()
