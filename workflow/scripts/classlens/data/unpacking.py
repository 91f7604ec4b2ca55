"""Unpacking of images that are stored in Parquet files, with their bytes unchanged."""

from pathlib import Path

from classlens.data.images import leave_out
from classlens.data.table_layout import TableDataset
from classlens.errors import InputError
from classlens.progress import progress


def unpack(dataset: TableDataset, split: str, per_class: int | None, folder: Path) -> None:
    """Write the stored images of a split, and their masks, under the paths that `TableDataset.images` gives them.

    Args:
        dataset: the data set; its root is the folder that contains `folder`.
        split: name of the split.
        per_class: images of each class; None for all.
        folder: folder of the split to write.

    Raises:
        InputError: a file cannot be read, or, unless `dataset.skip`, a row has no image or no mask.
    """
    chosen = {row.number: (image, row) for image, row in dataset.chosen(split, per_class)}
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    stored = ((*chosen[number], *content) for number, content in enumerate(dataset.tables.stored(split)) if number in chosen)
    for image, row, data, mask in progress(stored, len(chosen), f"unpacking {split}"):
        for path, content in ((image.path, data), (image.mask_path, mask)):
            if path and content:
                (dataset.root / path).write_bytes(content)
            elif path:
                missing = InputError(f"{row.place} stores no bytes for {path}: correct it, or set on_bad_image: skip")
                leave_out(missing, dataset.skip, "no image")
