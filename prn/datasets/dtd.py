"""DTD, the Describable Textures Dataset, as a source of heterologous anomalies: dtd/images/<class>/*.jpg, 47 classes.

Any folder of images serves as well. Source: https://www.robots.ox.ac.uk/~vgg/data/dtd/.
"""

import os
from pathlib import Path

from prn.datasets.layout import Entry, Listing, files_below, is_image, shown
from prn.errors import DataMissing

CATEGORY = "textures"


def list_images(root: Path, category: str, complete: bool) -> Listing:
    """Every texture as a normal training image whose type is its class (category `textures`), or those of one class.

    The 47 classes of 120 images are held against the registry when the index is built. Error: DataMissing.
    """
    paths = [path.relative_to(root) for path in texture_files(root)]
    classes = {path.parent.name for path in paths}
    chosen = [path for path in paths if category in (CATEGORY, path.parent.name)]
    if not chosen:
        raise DataMissing(f"{root}: no texture class {category!r}; there are {shown(sorted(classes))}")
    return Listing([Entry(path.as_posix(), "train", path.parent.name, 0) for path in chosen])


def texture_files(root: str | os.PathLike[str]) -> list[Path]:
    """Every image below a folder of textures, in the order of their POSIX paths; of DTD's tree only its `images`.

    Any folder of images will do. DataMissing where there is none.
    """
    folder = Path(root)
    for candidate in (folder / "dtd" / "images", folder / "images"):
        if candidate.is_dir():
            folder = candidate
            break
    files = [folder / path for path in files_below(folder) if is_image(path)]
    if not files:
        raise DataMissing(
            f"{root}: holds no textures; expected DTD's tree (images/<class>/*.jpg) or any folder of images "
            "(name another texture folder in the settings)"
        )
    return files
