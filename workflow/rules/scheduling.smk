# Snakemake limits how many jobs start in a second, which matters on a cluster only. On one machine its limit costs more
# and more: each finished job leaves a timer behind that wakes the scheduler once a second until the run ends.


def start_jobs_without_a_limit(workflow):
    """Switch the limit off, unless jobs are handed to a cluster, where its own executor keeps it."""
    prepare = workflow._prepare_dag

    def prepare_without_limit(*arguments, **options):
        if workflow.local_exec and workflow.scheduling_settings is not None:
            workflow.scheduling_settings.max_jobs_per_timespan = None
        prepare(*arguments, **options)

    workflow._prepare_dag = prepare_without_limit


start_jobs_without_a_limit(workflow)
