# The encoder's weights, and k-means over the normal feature maps: one file for all variants that agree in their settings.


rule phase_prototypes:
    input:
        lambda wildcards: kept(CELLS, last="prototypes"),


rule weights:
    output:
        outputs(layout.BACKBONE),
    log:
        layout.log_of("weights", "backbone"),
    priority: 1
    localrule: True  # may be downloaded, as archives
    conda:
        "../envs/prn.yaml"
    resources:
        execution=execution_of(),
    params:
        settings=lambda wildcards: json.dumps(
            {"weights": stage_view("weights")["weights"], "model": {"backbone": wildcards.backbone}}
        ),
        code=code_digest("weights"),
        listing=lambda wildcards: known(own_weights(wildcards.backbone), layout.BACKBONE.format(**wildcards)),
    shell:
        "python -m prn weights --code {params.code} --settings {params.settings:q} --execution {resources.execution:q} > {log:q} 2>&1"


rule prototypes:
    input:
        prototypes_inputs,
    output:
        outputs(layout.PROTOTYPES),
    log:
        layout.log_of("prototypes", "dataset", "category", "digest"),
    priority: 1
    conda:
        "../envs/prn.yaml"
    resources:
        execution=execution_of(),
        gpu=min(1, GPUS),
    params:
        settings=lambda wildcards: PROTOTYPES[wildcards.digest][0],
        seed=lambda wildcards: PROTOTYPES[wildcards.digest][1],
        code=code_digest("prototypes"),
    shell:
        "python -m prn prototypes --dataset {wildcards.dataset:q} --category {wildcards.category:q} --seed {params.seed}"
        " --code {params.code} --settings {params.settings:q} --execution {resources.execution:q} > {log:q} 2>&1"
