"""DTD, the Describable Textures Dataset, as a source of heterologous anomalies: dtd/images/<class>/*.jpg, 47 classes.

Any folder of images serves as well. Source: https://www.robots.ox.ac.uk/~vgg/data/dtd/.
"""

from pathlib import Path

from prn.datasets.images import texture_files
from prn.datasets.layout import Entry, shown
from prn.errors import DataMissing

CATEGORY = "textures"


def list_images(root: Path, category: str, complete: bool) -> list[Entry]:
    """Every texture as a normal training image whose type is its class (category `textures`), or those of one class.

    The 47 classes of 120 images are held against the registry when the index is built. Error: DataMissing.
    """
    paths = [path.relative_to(root) for path in texture_files(root)]
    classes = {path.parent.name for path in paths}
    chosen = [path for path in paths if category in (CATEGORY, path.parent.name)]
    if not chosen:
        raise DataMissing(f"{root}: no texture class {category!r}; there are {shown(sorted(classes))}")
    return [Entry(path.as_posix(), "train", path.parent.name, 0) for path in chosen]
