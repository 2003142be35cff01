# Pages, tables and figures: everything under reports/ is computed from the metrics.

REPORT_OUTPUTS = [*outputs(layout.RESULTS), *(page for page in layout.report_pages(RUNS) if page != layout.RESULTS)]


def shown(path):
    """A page as Snakemake's own report shows it (`snakemake --report`): with a caption, below its data set."""
    name, _, ending = path.removeprefix("reports/").rpartition(".")
    if path == layout.RESULTS:
        return report(
            path, caption="../report/results.rst", category="All data sets", labels={"what": "every number, as a table"}
        )
    if ending == "html":
        return report(
            path, caption="../report/pages.rst", category="All data sets", labels={"what": "every table and figure"}
        )
    if ending == "md" and name in RUNS:
        return report(path, caption="../report/dataset.rst", category=name, labels={"what": "tables"})
    return path


rule phase_report:
    input:
        REPORT_OUTPUTS,


rule report:
    input:
        [metrics_of(cell) for cell in CELLS],
    output:
        [shown(path) for path in REPORT_OUTPUTS],
    log:
        "data/logs/report.log",
    conda:
        "../envs/prn.yaml"
    params:
        settings=settings_json("report"),
        code=code_digest("report"),
    shell:
        "python -m prn report --settings {params.settings:q} > {log:q} 2>&1"
