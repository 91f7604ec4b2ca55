"""The generated data set of the demo: textured shapes on cluttered backgrounds, in the layout of ImageNet-S.

A class is a shape with a texture and, nearly always, its own colour. A quarter of the backgrounds have the tint of the class, so that the
context gives some information about the class, but not all. Masks code the class as R + 256 G, and mark pixels on the object's edge as
ignored (1000).
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from classlens.data.images import IGNORED_ID
from classlens.data.layouts import Image as Listed
from classlens.data.shapes_layout import class_names, shapes_images
from classlens.progress import progress

SIDES = (112, 128, 144)
OWN_COLOUR = 0.95
TELLING_BACKGROUND = 0.25
EDGE = 5


def write(root: Path, num_classes: int, splits: dict[str, int], seed: int, threads: int) -> None:
    """Write the data set.

    Args:
        root: folder to write.
        num_classes: number of classes, at most 20.
        splits: number of images per class, by split.
        seed: seed of all images. An image depends only on the seed, its split and its number.
        threads: number of images that are drawn at once.
    """
    names = class_names(num_classes)
    categories = root / "data" / "categories" / f"ImageNetS_categories_im{num_classes}.txt"
    categories.parent.mkdir(parents=True)
    categories.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    jobs = [
        (image, names.index(image.class_id), [seed, number, index])
        for number, (split, count) in enumerate(splits.items())
        for index, image in enumerate(shapes_images(num_classes, split, count))
    ]
    for folder in {(root / path).parent for image, _, _ in jobs for path in (image.path, image.mask_path) if path}:
        folder.mkdir(parents=True)
    with ThreadPoolExecutor(threads) as pool:
        drawn = pool.map(lambda job: _write_image(root, job[0], job[1], num_classes, np.random.default_rng(job[2])), jobs)
        for _ in progress(drawn, len(jobs), "drawing shapes"):
            pass


def _write_image(root: Path, image: Listed, label: int, num_classes: int, rng: np.random.Generator) -> None:
    picture, mask = draw(image.class_id, label, num_classes, rng)
    picture.save(root / image.path, quality=92)
    if image.mask_path:
        mask.save(root / image.mask_path)


def draw(name: str, label: int, num_classes: int, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Return an image and its mask, both RGB and of the same random size.

    Args:
        name: name of the class, `{texture}_{shape}`.
        label: index of the class.
        num_classes: number of classes, which share the range of hues evenly.
        rng: source of all randomness.
    """
    width, height = (int(side) for side in rng.choice(SIDES, 2))
    texture, shape = name.split("_")
    outline = _outline(shape, width, height, rng)
    inside = np.asarray(outline) > 0
    own = rng.random() < OWN_COLOUR
    hue = (label if own else rng.integers(num_classes)) / num_classes
    pixels = _background(width, height, label if rng.random() < TELLING_BACKGROUND else int(rng.integers(num_classes)), num_classes, rng)
    pixels[inside] = (_textured(texture, width, height, hue, rng))[inside]
    noisy = pixels + rng.normal(0, 6, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), _mask(outline, label + 1)


def _outline(shape: str, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Return a shape of random size, place and tilt, white on black."""
    side = rng.uniform(0.3, 0.45) * min(width, height)
    centre = rng.uniform(side / 2, [width - side / 2, height - side / 2])
    angle = rng.uniform(-0.3, 0.3)
    image = Image.new("L", (width, height))
    pen = ImageDraw.Draw(image)
    box = [*(centre - side / 2), *(centre + side / 2)]
    if shape in ("disc", "ring"):
        pen.ellipse(box, fill=255)
        if shape == "ring":
            pen.ellipse([*(centre - side / 5), *(centre + side / 5)], fill=0)
        return image
    arm = np.array([(-0.17, -0.5), (0.17, -0.5), (0.17, -0.17)])
    corners = {
        "square": np.array([(-0.45, -0.45), (0.45, -0.45), (0.45, 0.45), (-0.45, 0.45)]),
        "triangle": np.array([(0, -0.5), (0.5, 0.45), (-0.5, 0.45)]),
        "cross": np.concatenate([arm @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]),
    }[shape]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pen.polygon([tuple(centre + side * turn @ corner) for corner in corners], fill=255)
    return image


def _textured(texture: str, width: int, height: int, hue: float, rng: np.random.Generator) -> np.ndarray:
    """Return a texture in a light and a dark tone of one hue, float [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    period, phase = rng.uniform(11, 15), rng.uniform(0, 2 * np.pi, 2)
    wave_x, wave_y = np.sin(2 * np.pi * x / period + phase[0]), np.sin(2 * np.pi * y / period + phase[1])
    dark = {
        "plain": np.zeros(x.shape, bool),
        "striped": np.sin(2 * np.pi * (x + y) / period + phase[0]) > 0,
        "dotted": wave_x + wave_y > 0.9,
        "checked": wave_x * wave_y > 0,
    }[texture]
    return np.where(dark[..., None], _colour(hue, 0.35), _colour(hue, 0.95))


def _colour(hue: float, value: float) -> np.ndarray:
    channel = np.array([0, 1 / 3, 2 / 3])
    distance = np.abs((hue - channel + 0.5) % 1 - 0.5)
    return 255 * value * (0.15 + 0.85 * np.clip(2 - 6 * distance, 0, 1))


def _background(width: int, height: int, label: int, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Return blurred blobs over the pale tint of the class `label`, float [height, width, 3]."""
    tint = 0.55 * _colour((label + 0.5) / num_classes, 0.5) + 0.45 * rng.uniform(60, 170)
    image = Image.fromarray(np.full((height, width, 3), tint.clip(0, 255).astype(np.uint8)))
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(4, 22)
        grey = tint + rng.uniform(-60, 60)
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=tuple(int(value) for value in grey.clip(0, 255)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(2))).astype(np.float64)


def _mask(outline: Image.Image, class_id: int) -> Image.Image:
    """Return the mask of an outline: the class id inside, `IGNORED_ID` on the edge, 0 elsewhere."""
    edge = np.asarray(outline.filter(ImageFilter.MaxFilter(EDGE))) != np.asarray(outline.filter(ImageFilter.MinFilter(EDGE)))
    ids = np.where(edge, IGNORED_ID, np.where(np.asarray(outline) > 0, class_id, 0))
    return Image.fromarray(np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=-1).astype(np.uint8))
