# One training a data set, category, variant and seed. The resume state beside a checkpoint is not declared: a killed
# training goes on from it.


rule phase_train:
    input:
        [layout.CHECKPOINT.format(**cell) for cell in CELLS],


def train_inputs(wildcards):
    entry = METHODS[method_of(wildcards.variant)]
    files = [
        layout.SPLIT.format(**wildcards),
        *large(tensors_of(wildcards.dataset, wildcards.category)),
    ]
    if entry.backbone:
        files += large(backbone_of(wildcards.variant))
    prototypes = prototypes_of(wildcards)
    if prototypes:
        files += large(prototypes)
    if entry.textures and resolved(wildcards.variant).synthesis.heterologous:
        files += large(tensors_of(**layout.TEXTURES))
    return files


rule train:
    input:
        train_inputs,
    output:
        outputs(layout.CHECKPOINT),
        layout.TRAINING_LOG,
        layout.RUN_CARD,
    params:
        settings=cell_settings("train"),
        code=method_code("train"),
    log:
        "data/logs/train/{dataset}.{category}.{variant}.seed{seed}.log",
    threads: SETTINGS.train.threads
    resources:
        gpu=min(1, GPUS),
    shell:
        "{PRN} train --dataset {wildcards.dataset} --category {wildcards.category} --variant {wildcards.variant}"
        " --seed {wildcards.seed} --settings {params.settings:q} > {log} 2>&1"
