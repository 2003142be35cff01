# The encoder's weights, and k-means over the normal feature maps: one file for all variants that agree in their settings.


def prototypes_of(cell):
    digest = prototype_digest_of(cell["variant"], int(cell["seed"]))
    return None if digest is None else layout.PROTOTYPES.format(**{**cell, "digest": digest})


rule phase_prototypes:
    input:
        sorted({path for path in map(prototypes_of, CELLS) if path}),


rule weights:
    output:
        outputs(layout.BACKBONE),
    params:
        settings=lambda wildcards: json.dumps(
            {"weights": stage_view("weights")["weights"], "model": {"backbone": wildcards.backbone}}
        ),
        code=code_digest("weights"),
    log:
        "data/logs/weights/{backbone}.log",
    shell:
        "{PRN} weights --settings {params.settings:q} > {log} 2>&1"


def prototypes_inputs(wildcards):
    settings, seed = PROTOTYPES[wildcards.digest]
    backbone = layout.BACKBONE.format(backbone=json.loads(settings)["model"]["backbone"])
    return [
        layout.SPLIT.format(dataset=wildcards.dataset, category=wildcards.category, seed=seed),
        *large(tensors_of(wildcards.dataset, wildcards.category)),
        *large(backbone),
    ]


rule prototypes:
    input:
        prototypes_inputs,
    output:
        outputs(layout.PROTOTYPES),
    params:
        settings=lambda wildcards: PROTOTYPES[wildcards.digest][0],
        seed=lambda wildcards: PROTOTYPES[wildcards.digest][1],
        code=code_digest("prototypes"),
    log:
        "data/logs/prototypes/{dataset}.{category}.{digest}.log",
    resources:
        gpu=min(1, GPUS),
    shell:
        "{PRN} prototypes --dataset {wildcards.dataset} --category {wildcards.category} --seed {params.seed}"
        " --settings {params.settings:q} > {log} 2>&1"
