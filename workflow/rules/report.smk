# Pages, tables and figures: everything under reports/ is computed from the metrics.

REPORT_OUTPUTS = [*outputs(layout.RESULTS), *(page for page in layout.report_pages(RUNS) if page != layout.RESULTS)]


rule phase_report:
    input:
        REPORT_OUTPUTS,


rule report:
    input:
        lambda wildcards: [metrics_of(cell) for cell in CELLS],
    output:
        [shown_in_report(path) for path in REPORT_OUTPUTS],
    log:
        "data/logs/report.log",
    conda:
        "../envs/prn.yaml"
    params:
        settings=settings_json("report"),
        code=code_digest("report"),
    shell:
        "python -m prn report --code {params.code} --settings {params.settings:q} > {log:q} 2>&1"
