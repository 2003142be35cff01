# A finished run that nobody has touched since: Snakemake's own "nothing to be done" is given again without planning.
# A plan of thousands of jobs takes a quarter of a minute, also where it finds nothing. What it was about is kept beside
# Snakemake's records: the command's options, the settings, the code, what users' own folders list, and the state of each
# file that the plan looked at. While all of that is the same, so is the answer. A file that was merely touched, or any
# line of code that was edited, and Snakemake plans as ever.
import hashlib
import json
import os
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG, __version__
from snakemake.logging import logger

RECORDS = Path(".snakemake")
ANSWERS = RECORDS / "unchanged"
MANY = 1000  # jobs of a run, after which the answer is looked for at once: the next command then need not


def state_of(path):
    """What any change of a file changes too, None where there is none: time of the last change, size, inode."""
    try:
        found = [os.lstat(path)]
        if stat.S_ISLNK(found[0].st_mode):
            found.append(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [number for one in found for number in (one.st_ctime_ns, one.st_size, one.st_ino)]


def code_files():
    """All files that can have a say in a plan: this workflow and the package."""
    base = Path(workflow.basedir)
    folders = (base / "workflow", base / "prn")
    files = (file for folder in folders for file in folder.rglob("*") if "__pycache__" not in file.parts)
    return [base / "Snakefile", *sorted(files)]


# Taken before the package is loaded: what is edited from here on counts as a change for the next command.
CODE_STATE = [(str(file.relative_to(workflow.basedir)), state_of(file)) for file in code_files()]


def plain(settings):
    """Snakemake's settings as text that is the same in each process."""
    values = vars(settings).items() if settings is not None else ()
    return {
        name: sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value) for name, value in values
    }


def question():
    """Everything but the files of the plan that the answer depends on: (name of the targets, digest of all)."""
    options = [plain(workflow.dag_settings), plain(workflow.workflow_settings), plain(workflow.storage_settings)]
    listings = [listing_digest(one, SETTINGS.download.sources.get(one), category) for one, category in CATEGORIES]
    everything = [options, config, listings, own_textures(), CODE_STATE, __version__, sys.version]
    name, digest = (
        hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest()
        for part in (sorted(workflow.dag_settings.targets), everything)
    )
    return name[:16], digest


def states(files):
    """The state of each file, and of Snakemake's records as a whole: one that was made or removed counts."""
    return [state_of(path) for path in [*files, RECORDS / "metadata"]]


def answer(name, digest):
    """When Snakemake found nothing to be done, if nothing has changed since; else None."""
    busy = any(
        file for folder in ("locks", "incomplete") for _, _, files in os.walk(RECORDS / folder) for file in files
    )
    if busy:
        return None
    try:
        known = json.loads((ANSWERS / name).read_text(encoding="utf-8"))
        same = known["question"] == digest and known["states"] == states(known["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known["when"] if same else None


def remember(name, digest, before):
    """Keep the answer of a plan that found nothing to be done, unless something changed while it looked."""
    files = sorted({str(file) for job in workflow.dag.jobs for file in (*job.input, *job.output)})
    found = states(files)
    if any(state and max(state[0::3]) >= before for state in found[:-1]):
        return
    known = {"when": f"{datetime.now():%Y-%m-%d %H:%M}", "question": digest, "files": files, "states": found}
    (ANSWERS / name).write_text(json.dumps(known), encoding="utf-8")  # one that was half written is no answer


def look_again():
    """The same command as a dry run, for its answer. Not with `--directory`: what its options name lies elsewhere by now."""
    if workflow.overwrite_workdir is None and Path(sys.argv[0]).name in ("snakemake", "__main__.py"):
        logger.info("Looking whether anything is left to be done.")
        command = [sys.executable, "-m", "snakemake", "--dry-run", *sys.argv[1:]]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def answer_where_nothing_changed():
    """Ask for a kept answer before Snakemake plans a command that runs jobs (or shows them, with `--dry-run`)."""
    execute = workflow.execute

    def execute_or_answer(executor_plugin, *arguments, **options):
        touch = executor_plugin.common_settings.touch_exec
        if touch or not workflow.is_main_process or workflow.execution_settings.wait_for_files:
            return execute(executor_plugin, *arguments, **options)
        name, digest = question()
        when = answer(name, digest)
        if when:
            logger.info(f"{NOTHING_TO_BE_DONE_MSG}\nSo Snakemake found at {when}, and nothing has changed since.")
            return
        ANSWERS.mkdir(parents=True, exist_ok=True)
        clock = ANSWERS / "clock"  # the file system's own clock, which is not always this machine's
        clock.touch()
        before = os.stat(clock).st_ctime_ns
        execute(executor_plugin, *arguments, **options)
        if not len(workflow.dag):
            remember(name, digest, before)
        elif len(workflow.dag) >= MANY and not workflow.dryrun:
            look_again()

    workflow.execute = execute_or_answer


answer_where_nothing_changed()
