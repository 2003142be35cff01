# Files without Snakemake's records: they came with `dvc pull` or a copied folder, or a run was killed. Snakemake would
# take them as they are, whatever the settings say. Here their provenance decides, before anything is planned: what
# matches gets its record and is not made again; what does not is forced, and shown as such in the plan.
import sys
from pathlib import Path

from snakemake.exceptions import LockException

from prn.layout import settings_digest
from prn.provenance import stale_reason

SHOWN = 5


def unlike_today(job, absent):
    """Why a job's artefact does not belong to today's plan, None when it does.

    `absent`: the jobs before it whose files are not here, as those of a cleared cache; what they were made with counts.
    """
    made_with = (
        (str(one.output[0]), (settings_digest(json.loads(one.params.settings)), one.params.code)) for one in absent
    )
    reason = stale_reason(
        Path(job.output[0]),
        json.loads(job.params.settings),
        job.params.code,
        made_with=made_with,
        trust_large=True,
        listing=job.params.get("listing", ""),
    )
    missing = [file for file in job.output if not Path(file).exists()]
    return reason or (f"{missing[0]} is missing" if missing else None)


async def adopt(dag):
    """Give matching files their records, force the making of the others; tell what was done."""
    persistence = dag.workflow.persistence
    adopted, others = 0, {}
    dag.update_jobids()  # a record holds the job's command, and that its number
    for job in dag.jobs:
        if not job.output or not Path(job.output[0]).exists():
            continue
        incomplete = await persistence.incomplete(job)
        if persistence.has_metadata(job) and not incomplete:
            continue
        before = [one for one in dag.dependencies[job] if one.output]
        absent = [one for one in before if not any(Path(file).exists() for file in one.output)]
        reason = unlike_today(job, absent)
        if reason is None:
            for one in [job, *absent]:  # without its record, time stamps would decide about an absent cache
                await persistence.finished(one)
            adopted += len(job.output)
        else:
            if incomplete:
                persistence.cleanup(job)
            dag.forcefiles.update(job.output)
            others[str(job.output[0])] = reason
    if adopted or others:
        persistence.deactivate_cache()  # it remembers that there were no records
    if adopted:
        print(f"{adopted} files without records match their provenance: taken over, not made again", file=sys.stderr)
    if others:
        print(
            f"{len(others)} artefacts without records do not belong to this plan and are made again:", file=sys.stderr
        )
        for name, reason in list(others.items())[:SHOWN]:
            print(f"  {name}: {reason}", file=sys.stderr)


def adopt_before_planning(workflow):
    """Run `adopt` between Snakemake's building of the graph and its planning, in the main process only.

    Not while another run holds the folder's lock (or left it when it was killed): its unfinished files are its own.
    """
    prepare = workflow._prepare_dag

    def prepare_and_guard(*arguments, **options):
        prepare(*arguments, **options)
        check_incomplete = workflow.dag.check_incomplete

        async def guarded():
            locked, running = workflow.persistence.locked, workflow.execution_settings  # None where a graph is drawn
            if locked and running is not None and running.lock and not workflow.dryrun:
                raise LockException()
            if workflow.is_main_process and not locked:
                await adopt(workflow.dag)
            await check_incomplete()

        workflow.dag.check_incomplete = guarded

    workflow._prepare_dag = prepare_and_guard


adopt_before_planning(workflow)
