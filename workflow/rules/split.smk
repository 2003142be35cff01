# The few-shot split of each category and seed.


rule phase_split:
    input:
        [layout.SPLIT.format(dataset=d, category=c, seed=seed) for d, c in CATEGORIES for seed in SEEDS],


rule split:
    input:
        layout.INDEX,
    output:
        outputs(layout.SPLIT),
    log:
        "data/logs/split/{dataset}.{category}.seed{seed}.log",
    conda:
        "../envs/prn.yaml"
    params:
        settings=cell_settings("split"),
        code=code_digest("split"),
    shell:
        "python -m prn split --dataset {wildcards.dataset} --category {wildcards.category} --seed {wildcards.seed}"
        " --settings {params.settings:q} > {log} 2>&1"
