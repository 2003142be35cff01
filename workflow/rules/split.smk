# The few-shot split of each category and seed.


rule phase_split:
    input:
        [layout.SPLIT.format(dataset=d, category=c, seed=seed) for d, c in CATEGORIES for seed in SEEDS],


rule split:
    input:
        made(layout.INDEX),
    output:
        outputs(layout.SPLIT),
    log:
        layout.log_of("split", "dataset", "category", "seed"),
    priority: 1
    conda:
        "../envs/prn.yaml"
    params:
        settings=cell_settings("split"),
        code=code_digest("split"),
    shell:
        "python -m prn split --dataset {wildcards.dataset:q} --category {wildcards.category:q} --seed {wildcards.seed:q}"
        " --code {params.code} --settings {params.settings:q} > {log:q} 2>&1"
