# Pages, tables and figures: everything under reports/ is computed from the metrics.

REPORT_OUTPUTS = layout.report_pages(RUNS)


rule phase_report:
    input:
        REPORT_OUTPUTS,


rule report:
    input:
        [metrics_of(cell) for cell in CELLS],
        [ancient(layout.PREDICTIONS.format(**cell)) for cell in CELLS],
        [ancient(tensors_of(dataset, category)) for dataset, category in CATEGORIES],
    output:
        REPORT_OUTPUTS,
    log:
        "data/logs/report.log",
    conda:
        "../envs/prn.yaml"
    params:
        settings=settings_json("report"),
        code=code_digest("report"),
    shell:
        "python -m prn report --settings {params.settings:q} > {log:q} 2>&1"
