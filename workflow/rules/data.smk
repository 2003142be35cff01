# From a published archive, or a user's folder, to an index.


rule phase_download:
    input:
        expand(layout.RECEIPT, dataset=sorted({*RUNS, "dtd"})),


rule phase_index:
    input:
        [layout.INDEX.format(dataset=dataset, category=category) for dataset, category in CATEGORIES],


rule download:
    output:
        outputs(layout.RECEIPT),
    log:
        layout.log_of("download", "dataset"),
    priority: 1
    retries: 1
    localrule: True  # on a cluster often the login node alone reaches the internet
    conda:
        "../envs/prn.yaml"
    resources:
        execution=execution_of(),
    params:
        settings=cell_settings("download"),
        code=code_digest("download"),
        listing=lambda wildcards: known(own_archives(wildcards.dataset), layout.RECEIPT.format(**wildcards)),
    shell:
        # Also on the terminal: licence and citation, progress, and where to put an archive that has to be fetched by hand.
        "python -m prn download --dataset {wildcards.dataset:q} --code {params.code} --settings {params.settings:q} --execution {resources.execution:q} 2>&1 | tee {log:q}"


rule index:
    input:
        made(layout.RECEIPT),
    output:
        outputs(layout.INDEX),
    log:
        layout.log_of("index", "dataset", "category"),
    priority: 1
    conda:
        "../envs/prn.yaml"
    resources:
        execution=execution_of(),
    params:
        settings=cell_settings("index"),
        code=code_digest("index"),
        listing=lambda wildcards: known(own_images(**wildcards), layout.INDEX.format(**wildcards)),
    shell:
        "python -m prn index --dataset {wildcards.dataset:q} --category {wildcards.category:q}"
        " --code {params.code} --settings {params.settings:q} --execution {resources.execution:q} > {log:q} 2>&1"
