# Snakemake itself made faster for a workflow of thousands of jobs. Nothing here has a say in what is run: where a version
# of Snakemake lacks what is made faster, it stays as it is.
import contextlib
import gc
import re
from functools import lru_cache
from string import Formatter

import snakemake.common
import snakemake.jobs
import snakemake.rules
import snakemake.utils

try:
    from snakemake.persistence.file import FilePersistence
except ImportError:  # older versions have one kind of persistence
    from snakemake.persistence import Persistence as FilePersistence

# All of a plan is kept: looking for garbage in it makes planning a quarter longer.
gc.set_threshold(200_000, 50, 100)


def inspect_functions_once():
    """Remember what the functions for inputs, parameters and resources take: Snakemake asks 15 times a job."""
    if not all(hasattr(module, "get_function_params") for module in (snakemake.common, snakemake.rules)):
        return
    inspect, known = snakemake.common.get_function_params, {}

    def remembered(function):
        key = getattr(function, "__func__", function)  # a bound method is a new object each time
        if key not in known:
            known[key] = inspect(function)
        return known[key]

    snakemake.common.get_function_params = snakemake.rules.get_function_params = remembered


def remember_all_records():
    """Keep what was read of finished jobs: Snakemake keeps 128 records, and a plan asks for each of thousands twice."""
    cached = getattr(FilePersistence, "_read_record_cached", None)
    if hasattr(cached, "__wrapped__"):
        FilePersistence._read_record_cached = lru_cache(maxsize=None)(cached.__wrapped__)


def format_what_is_named():
    """Make a job's command from the values that it names: Snakemake copies all of the workflow's names six times a job."""
    job, utils = snakemake.jobs.Job, snakemake.utils
    if not all(hasattr(utils, name) for name in ("SequenceFormatter", "QuotedFormatter")):
        return
    of_all_names = job.format_wildcards
    own = {name: name for name in ("input", "output", "params", "threads", "resources", "log")}
    own["wildcards"] = "_format_wildcards"

    @lru_cache(maxsize=None)
    def named(command):
        return {re.split(r"[.\[]", field)[0] for _, field, _, _ in Formatter().parse(command) if field is not None}

    def format_wildcards(self, string, **variables):
        with contextlib.suppress(Exception):  # Snakemake says better what is wrong
            if not variables and named(str(string)) <= own.keys():
                formatter = utils.SequenceFormatter(separator=" ")
                formatter.element_formatter = utils.QuotedFormatter()
                return formatter.vformat(string, (), {name: getattr(self, own[name]) for name in named(str(string))})
        return of_all_names(self, string, **variables)

    job.format_wildcards = format_wildcards


def start_jobs_without_a_limit(workflow):
    """Switch off the limit of jobs that start in a second, unless they are handed to a cluster, whose executor keeps it.

    On one machine it costs more and more: each finished job leaves a timer behind that wakes the scheduler once a second
    until the run ends.
    """
    prepare = workflow._prepare_dag

    def prepare_without_limit(*arguments, **options):
        if workflow.local_exec and workflow.scheduling_settings is not None:
            workflow.scheduling_settings.max_jobs_per_timespan = None
        prepare(*arguments, **options)

    workflow._prepare_dag = prepare_without_limit


inspect_functions_once()
remember_all_records()
format_what_is_named()
start_jobs_without_a_limit(workflow)
