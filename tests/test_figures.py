"""What figures show, from small tables."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt

from classlens.figures import canvas, probes_vs_projection, relevance_heads, relevance_maps
from classlens.protocol import CORRECTED
from classlens.series import Series

FILE = "ILSVRC2012_val_00000293.JPEG"


@pytest.fixture
def maps() -> pl.DataFrame:
    """Maps of two classes of an image whose file has a long name, of two rows of two patches, as one block and head have them."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    photograph = relevance_maps.photograph({"pixels": pixels.tobytes(), "height": 8, "width": 8})
    patches = {"row": [0, 0, 1, 1], "column": [0, 1, 0, 1], "relevance": [1.0, -1.0, 0.5, 0.0]}
    image = {"label": "a model", "image_id": 7, "path": f"validation/n01484850/{FILE}", "block": 0, "head": 0}
    classes = ((2, "great white shark, white shark", True), (3, "hammerhead, hammerhead shark", False))
    return pl.concat(
        pl.DataFrame({**image, "class_index": index, "class_name": name, "own_class": own, **patches}).with_columns(
            pl.Series("photograph", [photograph if own else None, None, None, None], pl.String)
        )
        for index, name, own in classes
    )


@pytest.mark.parametrize("width", canvas.WIDTHS.values())
def test_relevance_maps_name_images_by_file_and_class(maps: pl.DataFrame, width: float) -> None:
    with canvas.styled():
        figure = relevance_maps.draw(maps, width)
        canvas.wrap_texts(figure)
        figure.draw_without_rendering()
    titles = [axes.title if axes.get_title() else axes._left_title for axes in figure.axes[:3]]
    assert titles[0].get_text().replace("_\n", "_").replace("\n", " ").replace(" ", "").startswith(f"{FILE}(greatwhiteshark)")
    assert [title.get_text().replace("\n", " ") for title in titles[1:]] == ["great white shark (its class)", "hammerhead"]
    for one, other in combinations([title.get_window_extent() for title in titles], 2):
        assert not one.overlaps(other)
    plt.close(figure)


def test_relevance_of_heads_names_the_image(maps: pl.DataFrame) -> None:
    figure = relevance_heads.draw(maps.filter(pl.col("own_class")), canvas.WIDTHS["double"])
    assert figure.axes[1].get_title() == f"a model: {FILE} (great white shark)"
    plt.close(figure)


@pytest.mark.parametrize("width", canvas.WIDTHS.values())
@pytest.mark.parametrize("largest", [0.5, 4.2, 4.94, 8.27, 8.7, 120])
def test_the_scale_of_heads_stays_inside_the_figure(largest: float, width: float) -> None:
    maps = np.linspace(-1, largest, 12 * 4 * 49)
    places = np.stack(np.unravel_index(np.arange(maps.size), (12, 4, 7, 7)), axis=1)
    frame = pl.DataFrame(places, schema=["block", "head", "row", "column"]).with_columns(
        relevance=maps,
        label=pl.lit("ViT, pooled"),
        path=pl.lit("validation/checked_cross/validation_checked_cross_0000.jpg"),
        class_name=pl.lit("checked cross"),
        photograph=pl.lit(relevance_maps.photograph({"pixels": bytes(192), "height": 8, "width": 8})),
    )
    with canvas.styled():
        figure = relevance_heads.draw(frame, width)
        canvas.wrap_texts(figure)
        for _ in range(2):  # as a layout is settled step by step
            figure.draw_without_rendering()
            assert figure.axes[-1].yaxis.label.get_window_extent().x1 <= figure.bbox.x1
    plt.close(figure)


def test_deletion_is_drawn_over_the_share_of_tokens_like_the_curves_of_all_maps() -> None:
    probes = pl.DataFrame({"site": "resid_post", "block": [0, 0], "token": [0, 1], "image_id": 0, "rank": [0, 1]})
    facts = {"prefix_tokens": "0", "cls_token": "false", "grid": "[2, 4]"}
    curves = pl.DataFrame(
        {"method": "probe", "order": "negative", "removed": [0, 2, 8], "accuracy": 1.0, "low": 1.0, "high": 1.0, "images": 1}
    )
    found = probes_vs_projection.data(
        [Series("m", "m", None, probes, facts)], {"identifiability": [], "deletion": [curves.to_arrow()]}, CORRECTED, 0
    )
    assert found.filter(panel="deletion")["x"].to_list() == [0, 25, 100]
    assert found.filter(panel="accuracy").select("x", "mean").rows() == [(0, 50)]
