"""What DVC watches in place of the sources: small files that a comment or a docstring leaves as they are.

`data/code/<stage>.txt` holds the digests of the code that a stage imports, with each method that it may load;
`data/code/rules.txt` one over the tokens of the workflow's own files. A file that would not change is not written.
"""

import hashlib
import io
import sys
import tokenize
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from prn.cli import STAGES  # noqa: E402 - of this project, wherever another copy is installed
from prn.code_digest import code_digest  # noqa: E402
from prn.methods import METHODS  # noqa: E402
from prn.provenance import write_text  # noqa: E402

FOLDER = Path("data/code")
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING}


def stage_lines(stage: str) -> str:
    """The digests of a stage; with those of its methods where it loads a variant's."""
    if stage not in ("train", "predict"):
        return f"{code_digest(stage)}\n"
    return "".join(f"{name} {code_digest(stage, entry.module)}\n" for name, entry in METHODS.items())


def rules_digest(files: list[Path]) -> str:
    """A digest over the tokens of Snakefiles, comments and empty lines left out."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\n".encode())
        for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline):
            if token.type not in SILENT:
                total.update(f"{token.type} {token.string.strip()}\n".encode())
    return f"{total.hexdigest()}\n"


def main() -> None:
    """Write the files that are not up to date."""
    texts = {stage: stage_lines(stage) for stage in STAGES}
    texts["rules"] = rules_digest([PROJECT / "Snakefile", *sorted((PROJECT / "workflow/rules").glob("*.smk"))])
    for name, text in texts.items():
        file = FOLDER / f"{name}.txt"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            write_text(file, text)


if __name__ == "__main__":
    main()
