"""The real dvc over the phases, on a copy of the project with a tiny benchmark."""

import sys

import pytest

from tests.workflow.conftest import planned, run

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
def test_dvc_repro_then_both_tools_have_nothing_to_do(checkout):
    dvc = [sys.executable, "-m", "dvc"]
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2"]
    run([*dvc, "repro"], checkout)
    assert (checkout / "reports/README.md").is_file()
    assert (checkout / "data/metrics/mine/part/mean-image/seed42.json").is_file()
    assert "Nothing to be done" in run([*snakemake, "all"], checkout).stdout
    assert "up to date" in run([*dvc, "status"], checkout).stdout

    params = checkout / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("fpr_limit: 0.3", "fpr_limit: 0.2"), encoding="utf-8")
    jobs = planned(run([*snakemake, "-n", "all"], checkout).stdout)
    assert set(jobs) == {"evaluate", "report"}
    changed = run([*dvc, "status"], checkout).stdout
    assert "evaluate:" in changed
    assert "train:" not in changed
    run([*snakemake, "all"], checkout)
    run([*dvc, "repro"], checkout)
    assert "up to date" in run([*dvc, "status"], checkout).stdout
