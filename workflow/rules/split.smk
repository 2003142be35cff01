# The few-shot split of each category and seed.


rule phase_split:
    input:
        [layout.SPLIT.format(dataset=d, category=c, seed=seed) for d, c in CATEGORIES for seed in SEEDS],


rule split:
    input:
        layout.INDEX,
    output:
        outputs(layout.SPLIT),
    params:
        settings=cell_settings("split"),
        code=code_digest("split"),
    log:
        "data/logs/split/{dataset}.{category}.seed{seed}.log",
    shell:
        "{PRN} split --dataset {wildcards.dataset} --category {wildcards.category} --seed {wildcards.seed}"
        " --settings {params.settings:q} > {log} 2>&1"
