"""PRN (CVPR 2023) as a reproducible anomaly-detection benchmark."""

import contextlib
from importlib.util import cache_from_source
from pathlib import Path


def _drop_old_bytecode() -> None:
    """Remove compiled modules that are older than the last change of their source.

    Python takes them while the source has the length and the date of before; an edit may have kept both. The code that
    runs must be the code whose digest is recorded (`prn.provenance.code`).
    """
    for source in Path(__file__).parent.rglob("*.py"):
        compiled = Path(cache_from_source(str(source)))
        with contextlib.suppress(OSError):  # there is none
            if compiled.stat().st_mtime_ns < source.stat().st_ctime_ns:
                compiled.unlink()


_drop_old_bytecode()
