# Score maps of the test images (a cache) and the metrics computed from them.


rule phase_evaluate:
    input:
        lambda wildcards: kept(CELLS),


rule predict:
    input:
        digest_file(layout.CHECKPOINT),
        digest_file(layout.SPLIT),
        digest_file(layout.INDEX),
    output:
        outputs(layout.PREDICTIONS),
        layout.TIMING,
    log:
        layout.log_of("predict", "dataset", "category", "variant", "seed"),
    conda:
        "../envs/prn.yaml"
    threads: lambda wildcards: resolved(wildcards.variant).predict.threads
    resources:
        execution=lambda wildcards: execution_of(wildcards.variant),
        gpu=min(1, GPUS),
    params:
        settings=cell_settings("predict"),
        code=method_code("predict"),
    shell:
        "python -m prn predict --dataset {wildcards.dataset:q} --category {wildcards.category:q} --variant {wildcards.variant:q}"
        " --seed {wildcards.seed:q} --code {params.code} --settings {params.settings:q} --execution {resources.execution:q} > {log:q} 2>&1"


rule evaluate:
    input:
        # The digest file must be among the inputs: if all of them were `ancient`, Snakemake would not see that `predict`
        # has to run again.
        made(layout.PREDICTIONS),
        ancient(layout.TIMING),
        digest_file(layout.CHECKPOINT),
        ancient(layout.RUN_CARD),
        digest_file(layout.SPLIT),
        digest_file(layout.INDEX),
    output:
        report(
            layout.METRICS,
            caption="../report/metrics.rst",
            category="{dataset}",
            subcategory="{category}",
            labels={"what": "metrics", "variant": "{variant}", "seed": "{seed}"},
        ),
        digest_file(layout.METRICS),
        sidecar(layout.METRICS),
    log:
        layout.log_of("evaluate", "dataset", "category", "variant", "seed"),
    conda:
        "../envs/prn.yaml"
    resources:
        execution=lambda wildcards: execution_of(wildcards.variant),
    params:
        settings=cell_settings("evaluate"),
        code=code_digest("evaluate"),
        # The predictions are a cache: what they are made with counts, not their files.
        predict_settings=cell_settings("predict"),
        predict_code=method_code("predict"),
    shell:
        "python -m prn evaluate --dataset {wildcards.dataset:q} --category {wildcards.category:q} --variant {wildcards.variant:q}"
        " --seed {wildcards.seed:q} --code {params.code} --settings {params.settings:q} --execution {resources.execution:q} > {log:q} 2>&1"
