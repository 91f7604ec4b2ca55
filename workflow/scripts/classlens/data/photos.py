"""Photographs that come with installed packages, as a data set with one image for each of some ImageNet classes.

The file names are known without looking for the packages, so that the workflow can plan shards before its first job.
"""

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from classlens.data.layouts import Image
from classlens.errors import InputError

SCIKIT_IMAGE = "skimage/data"
MATPLOTLIB = "matplotlib/mpl-data/sample_data"
DISTRIBUTIONS = {"skimage": "scikit-image", "matplotlib": "matplotlib"}
"""Names on the package index of the packages with photographs."""


@dataclass(frozen=True)
class Photograph:
    """A photograph in a package.

    Attributes:
        class_id: folder of its class: the ImageNet id and a short name.
        folder: folder in the package, which starts with the package's name.
        name: file name.
        licence: its terms of use.
        source: who made it or where it comes from, and the page that names its terms of use.
    """

    class_id: str
    folder: str
    name: str
    licence: str
    source: str

    @property
    def file(self) -> Path:
        """The path of the installed file.

        Raises:
            InputError: the package is not installed, or lacks the file.
        """
        package, _, inside = self.folder.partition("/")
        needed = f"the photograph {self.name} comes with {DISTRIBUTIONS[package]}"
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise InputError(f"{needed}, which is not installed: make the pinned environment with `make env`")
        path = Path(found.submodule_search_locations[0], inside, self.name)
        if not path.is_file():
            raise InputError(f"{needed}, but there is no file {path}: make the pinned environment with `make env`")
        return path


_DOCUMENTED = "documentation of skimage.data"
PHOTOGRAPHS = (
    Photograph("n02123045_tabby", SCIKIT_IMAGE, "chelsea.png", "CC0", f"Stefan van der Walt; {_DOCUMENTED}.chelsea"),
    Photograph(
        "n03763968_military_uniform", MATPLOTLIB, "grace_hopper.jpg", "public domain", "Wikimedia Commons; matplotlib's pull request 1599"
    ),
    Photograph("n03773504_missile", SCIKIT_IMAGE, "rocket.jpg", "public domain", f"SpaceX; {_DOCUMENTED}.rocket"),
    Photograph("n04266014_space_shuttle", SCIKIT_IMAGE, "astronaut.png", "public domain", f"NASA; {_DOCUMENTED}.astronaut"),
    Photograph("n04485082_tripod", SCIKIT_IMAGE, "camera.png", "CC0", f"Lav Varshney; {_DOCUMENTED}.camera"),
    Photograph("n04548280_wall_clock", SCIKIT_IMAGE, "clock_motion.png", "public domain", f"Stefan van der Walt; {_DOCUMENTED}.clock"),
    Photograph("n07920052_espresso", SCIKIT_IMAGE, "coffee.png", "CC0", f"Rachel Michetti; {_DOCUMENTED}.coffee"),
)
"""All photographs, sorted by class. ImageNet has no class for space rockets; the nearest class of rocket.jpg is `missile`."""


def images(split: str) -> list[Image]:
    """Return the images of the data set, with paths relative to its root."""
    return [Image(photograph.class_id, f"{split}/{photograph.class_id}/{photograph.name}") for photograph in PHOTOGRAPHS]


def write(folder: Path) -> None:
    """Copy all photographs to `folder/{class}/`.

    Raises:
        InputError: a photograph is missing.
    """
    files = [photograph.file for photograph in PHOTOGRAPHS]
    for photograph, file in zip(PHOTOGRAPHS, files, strict=True):
        target = folder / photograph.class_id / photograph.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
