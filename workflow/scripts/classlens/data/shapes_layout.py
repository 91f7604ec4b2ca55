"""The file names of the generated data set, which are known before it exists, so that its shards can be planned."""

from classlens.data.layouts import Image

OBJECTS = ("disc", "square", "triangle", "cross", "ring")
TEXTURES = ("plain", "striped", "dotted", "checked")


def class_names(num_classes: int) -> list[str]:
    """Return the sorted folder names of the classes. Each is a texture and a shape; all 20 pairs differ, because 4 and 5 are coprime."""
    return sorted(f"{TEXTURES[i % len(TEXTURES)]}_{OBJECTS[i % len(OBJECTS)]}" for i in range(num_classes))


def shapes_images(num_classes: int, split: str, per_class: int) -> list[Image]:
    """Return every image of a split, with its paths relative to the root, in the layout of ImageNet-S."""
    home = f"ImageNetS{num_classes}"
    return [
        Image(
            name,
            f"{home}/{split}/{name}/{split}_{name}_{i:04d}.jpg",
            f"{home}/{split}-segmentation/{name}/{split}_{name}_{i:04d}.png" if split != "train" else None,
        )
        for name in class_names(num_classes)
        for i in range(per_class)
    ]
