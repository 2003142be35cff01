"""Tool `sources`: what users' own files hold today, as digests: DVC, which cannot watch them, compares this file."""

import json

from prn.settings.sections import Settings
from prn.stages.plan import Currency, planned_jobs


def sources(settings: Settings) -> str:
    """JSON with a digest for each planned file that is made from a user's own images, archives or weights."""
    currency = Currency(settings, own_files=True)
    digests = {job.artefact.as_posix(): currency.own_files_of(job) for job in planned_jobs(settings)}
    own = {name: digest for name, digest in digests.items() if digest}
    return json.dumps(own, indent=1, sort_keys=True)
