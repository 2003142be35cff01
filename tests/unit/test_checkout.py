"""R30: the code that runs is the code that is recorded: odd paths, several checkouts, wheels, edits that keep dates."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prn.cli import main
from prn.devices import use_this_python
from prn.errors import PrnError, SettingsError
from prn.provenance import environment
from prn.provenance.checkout import MEANT, check_code


def copied(project: Path, folder: Path) -> Path:
    """Another checkout: the package and the Snakefile."""
    shutil.copytree(project / "prn", folder / "prn", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "params.yaml"):
        shutil.copy(project / name, folder)
    return folder


def said(command: list[str], folder: Path, **more: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**environment, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_another_checkouts_code_does_not_work_in_this_ones_folders(project, tmp_path):
    other = copied(project, tmp_path / "other")
    (other / "runs" / "mine").mkdir(parents=True)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from prn.cli import main; sys.exit(main())"
    typed = ["-c", code, str(project), "verify", "--dataset", "mvtec", "--category", "bottle"]
    assert said(typed, tmp_path)[0] == 3, "a folder that belongs to no checkout: settings and data are missing, no more"
    for folder, more in ((other / "runs" / "mine", []), (tmp_path, ["--root", "other/runs/mine"])):
        exit_code, text = said([*typed, *more], folder)
        assert exit_code == 2
        assert f"the code of {project} runs, but the work belongs to {other}" in text
    assert said(["-m", "prn", "describe", "--variant", "prn-light"], other)[0] == 0, "with its own code"


def test_a_job_runs_the_code_of_the_workflow_that_started_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MEANT, str(tmp_path / "elsewhere"))
    assert main(["describe"]) == 2
    assert "the work belongs to" in capsys.readouterr().err


def test_a_folder_that_cannot_stand_in_pythonpath_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SettingsError, match="PYTHONPATH is cut"):
        use_this_python(tmp_path / "a:b")
    use_this_python(tmp_path / "a b")
    assert os.environ["PYTHONPATH"].startswith(str(tmp_path / "a b"))


def test_code_that_was_edited_after_the_plan_is_refused():
    check_code(None, "c0de")
    check_code("c0de", "c0de")
    with pytest.raises(PrnError, match="edited after this job was planned"):
        check_code("c0de", "0ther")


def test_an_edit_that_keeps_length_and_date_runs(project, tmp_path):
    """Python's own bytecode is taken by date and length; the old one would run under the new digest."""
    other = copied(project, tmp_path / "other")
    code = ["-c", "import prn.layout; print(prn.layout.ARCHIVES)"]
    for _ in range(2):
        assert said(code, other) == (0, "data/archives\n")
    file = other / "prn" / "layout.py"
    dates, text = file.stat(), file.read_text(encoding="utf-8")
    file.write_text(text.replace('ARCHIVES = "data/archives"', 'ARCHIVES = "data/ARCHIVES"'), encoding="utf-8")
    os.utime(file, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert said(code, other) == (0, "data/ARCHIVES\n")


def test_another_repositorys_commit_is_not_ours(tmp_path, monkeypatch):
    repository = tmp_path / "users" / "repository"
    package = repository / ".venv" / "site-packages"
    package.mkdir(parents=True)
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *name, *command], cwd=repository, check=True)
    monkeypatch.setattr(environment, "PROJECT", package)
    environment.commit.cache_clear()
    try:
        assert environment.commit() == {"commit": "unknown", "tree_clean": False}
    finally:
        environment.commit.cache_clear()
