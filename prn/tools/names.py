"""The table of tools that read a stage's settings: what each does, and which names of a cell it takes."""

from dataclasses import dataclass

from prn.stages.names import CELL


@dataclass(frozen=True)
class Tool:
    """A tool: what it does in words, the names of a cell on its command line, the stage whose settings it reads."""

    does: str
    cell: tuple[str, ...]
    stage: str


TOOLS = {
    "describe": Tool("print the network block by block; needs no data", ("variant",), "train"),
    "synthesize": Tool("write the contact sheet of the synthetic anomalies", CELL, "train"),
    "estimate": Tool("say what the benchmark will need of time, memory and disk; needs no data", (), "report"),
    "verify": Tool("hold a category's files against its index", ("dataset", "category"), "index"),
}
