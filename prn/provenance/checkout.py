"""The code that runs is the code that is meant: of this checkout, not of another one that is installed as well."""

import os
from pathlib import Path

from prn.errors import PrnError, SettingsError

PROJECT = Path(__file__).resolve().parents[2]
# Set by the workflow for its jobs: the checkout whose rules started them.
MEANT = "PRN_PROJECT"


def check_checkout(*folders: Path) -> None:
    """Raise `SettingsError` where the work belongs to another checkout than the code.

    That is the checkout whose workflow started this job, and for a command typed by hand the one that a folder lies in.
    """
    meant = [Path(os.environ[MEANT])] if MEANT in os.environ else [_checkout_around(folder) for folder in folders]
    for project in meant:
        if project is not None and project.resolve() != PROJECT:
            raise SettingsError(
                f"the code of {PROJECT} runs, but the work belongs to {project}; use that one's environment"
                f" (`make env` there), or set PYTHONPATH={project}"
            )


def _checkout_around(folder: Path) -> Path | None:
    """The nearest folder above (or at) `folder` that is a checkout of this project, None where there is none."""
    whole = folder.resolve()
    return next(
        (
            each
            for each in (whole, *whole.parents)
            if (each / "Snakefile").is_file() and (each / "prn/cli.py").is_file()
        ),
        None,
    )


def check_code(planned: str | None, found: str) -> None:
    """Raise `PrnError` where a job's code is not the one that it was planned with (None: nobody planned it)."""
    if planned is not None and planned != found:
        raise PrnError(
            f"the code was edited after this job was planned (its digest was {planned}, now {found}); start again, so"
            " that the plan follows the code"
        )
