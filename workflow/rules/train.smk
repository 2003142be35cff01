# One training a data set, category, variant and seed. The resume state beside a checkpoint is not declared: a killed
# training goes on from it.


rule phase_train:
    input:
        [layout.CHECKPOINT.format(**cell) for cell in CELLS],


rule train:
    input:
        train_inputs,
    output:
        outputs(layout.CHECKPOINT),
        layout.TRAINING_LOG,
        layout.RUN_CARD,
    log:
        "data/logs/train/{dataset}.{category}.{variant}.seed{seed}.log",
    conda:
        "../envs/prn.yaml"
    threads: SETTINGS.train.threads
    resources:
        gpu=min(1, GPUS),
    params:
        settings=cell_settings("train"),
        code=method_code("train"),
        tensors_code=TENSORS_CODE,
    shell:
        "python -m prn train --dataset {wildcards.dataset} --category {wildcards.category} --variant {wildcards.variant}"
        " --seed {wildcards.seed} --settings {params.settings:q} > {log} 2>&1"
