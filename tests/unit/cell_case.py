"""A cell of the benchmark whose stages are called by hand, in one work folder."""

import json

import yaml

from prn.cli import main
from tests.workflow.conftest import make_images, tiny_settings

CELL = ("--dataset", "mine", "--category", "part")


class Bench:
    """Calls stages in one work folder, settings laid over params.yaml."""

    def __init__(self, project, folder, monkeypatch) -> None:
        self.params, self.folder, self.chdir = project / "params.yaml", folder, monkeypatch.chdir
        images = make_images(folder / "images")
        self.settings = tiny_settings(images, images / "part" / "train", ["prn"])

    def call(self, *arguments: str, code: int = 0) -> None:
        self.chdir(self.folder)
        assert main([*arguments, *self.common()]) == code, arguments

    def common(self) -> tuple[str, ...]:
        """The arguments of every stage; writes the settings of now."""
        preset = self.folder / "preset.yaml"
        preset.write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        return ("--params", str(self.params), "--preset", str(preset), "--root", str(self.folder))

    def all_stages(self) -> None:
        """From the images to the metrics."""
        self.before_training()
        for stage in ("train", "predict", "evaluate"):
            self.call(stage, *CELL)

    def before_training(self) -> None:
        """From the images to all that a training reads."""
        for dataset in ("mine", "dtd"):
            self.call("download", "--dataset", dataset)
        self.call("index", *CELL)
        self.call("index", "--dataset", "dtd", "--category", "textures")
        self.call("weights")
        self.call("split", *CELL)
        self.call("tensors", *CELL)
        self.call("tensors", "--dataset", "dtd", "--category", "textures")
        self.call("prototypes", *CELL)

    def metrics(self) -> dict:
        return json.loads((self.folder / "data/metrics/mine/part/prn/seed42.json").read_text(encoding="utf-8"))
