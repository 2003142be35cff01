# One training a data set, category, variant and seed. The resume state beside a checkpoint is not declared: a killed
# training goes on from it.


rule phase_train:
    input:
        lambda wildcards: kept(CELLS, last="checkpoint"),


rule train:
    input:
        train_inputs,
    output:
        outputs(layout.CHECKPOINT),
        layout.TRAINING_LOG,
        layout.RUN_CARD,
    log:
        layout.log_of("train", "dataset", "category", "variant", "seed"),
    priority: 1  # what trainings wait for, and they, go first: they are the longest jobs
    conda:
        "../envs/prn.yaml"
    threads: lambda wildcards: resolved(wildcards.variant).train.threads
    resources:
        gpu=min(1, GPUS),
        execution=lambda wildcards: execution_of(wildcards.variant),
    params:
        settings=cell_settings("train"),
        code=method_code("train"),
        listing=lambda wildcards: (
            known(own_images(**layout.TEXTURES), layout.CHECKPOINT.format(**wildcards))
            if needs(wildcards.variant, "textures")
            else ""
        ),
    shell:
        "python -m prn train --dataset {wildcards.dataset:q} --category {wildcards.category:q} --variant {wildcards.variant:q}"
        " --seed {wildcards.seed:q} --code {params.code} --settings {params.settings:q} --execution {resources.execution:q} > {log:q} 2>&1"
