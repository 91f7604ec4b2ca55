"""The animation of the README: which image it shows, and what its frames show."""

from pathlib import Path

import numpy as np
from conftest import REPOSITORY
from PIL import Image

import filmstrip

FILM = REPOSITORY / "docs" / "images" / "filmstrip.webp"
MOST_BYTES = 400_000


def ranks_first(*counts: list[int], tokens: int = 4) -> np.ndarray:
    """Images with these numbers of tokens at which the class ranks first, bool [image, block, token]."""
    return np.arange(tokens) < np.array(counts)[..., None]


def saturation(picture: Image.Image) -> float:
    """How colourful a picture is on average."""
    return float(np.ptp(np.asarray(picture.convert("RGB")).astype(int), axis=-1).mean())


def test_the_image_ends_with_the_class_at_most_patches_and_gets_there_evenly() -> None:
    first = ranks_first([0, 1, 3, 3], [0, 0, 0, 4], [0, 1, 3, 4], [0, 1, 3, 4])
    assert filmstrip.clearest(first, np.array([True, True, False, True])) == 3
    assert filmstrip.clearest(first, np.array([True, True, False, False])) == 1
    assert filmstrip.clearest(first, np.array([True, False, False, False])) == 0


def test_the_first_frame_shows_all_blocks_and_each_other_one_a_block_more(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0] = 255
    first = np.zeros((3, 2, 2), bool)
    first[0, 0, 0] = first[1, 0, :] = first[2] = True
    filmstrip.film(filmstrip.Spread(pixels, "red", first), tmp_path / "film.webp")
    with Image.open(tmp_path / "film.webp") as film:
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(saturation(film))
    complete, one, two = frames
    assert one < two < complete


def test_the_readme_has_a_small_endless_animation() -> None:
    assert f"({FILM.relative_to(REPOSITORY)})" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert FILM.stat().st_size <= MOST_BYTES
    with Image.open(FILM) as film:
        assert film.n_frames == 12
        assert film.info["loop"] == 0
