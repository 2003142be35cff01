# PRN as a benchmark: `snakemake --cores 8 all` makes every table of the paper. See README.md.
# With other settings laid over params.yaml: snakemake --directory runs/demo --configfile workflow/presets/demo.yaml ...
from pathlib import Path

from snakemake.utils import min_version

min_version("9.14")


report: "workflow/report/workflow.rst"


configfile: str(Path(workflow.basedir) / "params.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/prototypes.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/parts.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        REPORT_OUTPUTS,
        kept(CELLS),
