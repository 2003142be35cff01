# A part of the benchmark by name: `snakemake --cores 8 mvtec`, `bottle`, `prn-unet`, `table4`.
from prn.reporting.parts import parts

for part, members in parts(CELLS, reserved=[rule.name for rule in workflow.rules]).items():

    rule:
        name:
            part
        input:
            # Looked up for the part that is asked for only: with all of them planning takes half a second longer.
            lambda wildcards, members=members: kept(members),
        localrule: True
