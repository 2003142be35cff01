# From a published archive, or a user's folder, to an index and cached tensors.


rule phase_download:
    input:
        expand(layout.RECEIPT, dataset=sorted({*RUNS, "dtd"})),


rule phase_index:
    input:
        [layout.INDEX.format(dataset=dataset, category=category) for dataset, category in CATEGORIES],


rule download:
    output:
        outputs(layout.RECEIPT),
    params:
        settings=cell_settings("download"),
        code=code_digest("download"),
    log:
        "data/logs/download/{dataset}.log",
    retries: 1
    shell:
        "{PRN} download --dataset {wildcards.dataset} --settings {params.settings:q} > {log} 2>&1"


rule index:
    input:
        layout.RECEIPT,
    output:
        outputs(layout.INDEX),
    params:
        settings=cell_settings("index"),
        code=code_digest("index"),
    log:
        "data/logs/index/{dataset}.{category}.log",
    shell:
        "{PRN} index --dataset {wildcards.dataset} --category {wildcards.category}"
        " --settings {params.settings:q} > {log} 2>&1"


def tensors_source(wildcards):
    if wildcards.dataset == layout.TEXTURES["dataset"]:
        return layout.RECEIPT
    return layout.INDEX


rule tensors:
    input:
        tensors_source,
    output:
        outputs(layout.TENSORS),
    params:
        settings=cell_settings("tensors"),
        code=code_digest("tensors"),
    log:
        "data/logs/tensors/{dataset}.{category}.{size}.log",
    shell:
        "{PRN} tensors --dataset {wildcards.dataset} --category {wildcards.category}"
        " --settings {params.settings:q} > {log} 2>&1"
