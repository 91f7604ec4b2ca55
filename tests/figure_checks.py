"""A small table of every figure of the catalogue, and what is asked of a figure that was drawn from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import combinations, product
from typing import Any

import numpy as np
import polars as pl
from colour_vision import distance
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text

from classlens.analyses.building import SOURCES
from classlens.analyses.segmentation_scores import MEASURES
from classlens.figures import canvas, class_building, relevance_maps
from classlens.vocabulary import METHODS, ORDERS, SUBLAYERS

LEAST_DISTANCE = 10
"""CIEDE2000 that colours of neighbouring lines need, where nothing else tells them apart."""
MODELS = {"a": "ViT, [CLS]", "b": "ViT, pooled"}
BLOCKS = range(12)


def crossed(**columns: Any) -> pl.DataFrame:
    """A row for each combination of values; a value that is no list is the same in all rows."""
    lists = {name: list(values) for name, values in columns.items() if isinstance(values, list | tuple | range)}
    frame = pl.DataFrame(list(product(*lists.values())), schema=list(lists), orient="row")
    return frame.with_columns(**{name: pl.lit(value) for name, value in columns.items() if name not in lists})


def measured(frame: pl.DataFrame, name: str = "mean", low: float = 0.3, high: float = 0.9) -> pl.DataFrame:
    """Values with intervals and twins around them."""
    values = np.random.default_rng(0).uniform(low, high, len(frame))
    reach = (high - low) / 10
    twins = {"twins_mean": low, "twins_low": low - reach, "twins_high": low + reach}
    return frame.with_columns(pl.Series(name, values), low=values - reach, high=values + reach, **{k: pl.lit(v) for k, v in twins.items()})


def of_models(**columns: Any) -> pl.DataFrame:
    """Rows of two models."""
    frame = crossed(model=tuple(MODELS), **columns)
    return frame.with_columns(label=pl.col("model").replace_strict(MODELS))


def over_blocks(**columns: Any) -> pl.DataFrame:
    """Rows of two models and twelve blocks."""
    defaults = {"block": BLOCKS, "images": 200, "relative": False, "chance": 0.55, "p": 0.01}
    return measured(of_models(**defaults | columns)).with_columns(x=pl.col("block") + 1.0)


def boxes() -> pl.DataFrame:
    frame = over_blocks(tokens=("cls", "image")).filter((pl.col("model") == "a") | (pl.col("tokens") == "image"))
    ends = {"q1": -0.1, "median": 0.0, "q3": 0.1, "whisker_low": -0.2, "whisker_high": 0.2}
    return frame.with_columns(**{name: pl.col("mean") + shift for name, shift in ends.items()})


def building() -> pl.DataFrame:
    panels = [
        crossed(panel=panel, quantity=SUBLAYERS, tokens=tokens, block=BLOCKS[1:], images=194)
        for panel, tokens in class_building.PANELS.items()
    ]
    panels.append(crossed(panel="composition", quantity=tuple(SOURCES), tokens="all", block=BLOCKS[1:], images=200))
    return measured(pl.concat(panels, how="diagonal"), low=10, high=90).with_columns(label=pl.lit("ViT, [CLS]"))


def probes() -> pl.DataFrame:
    panels = [("accuracy", ("cls", "image"), BLOCKS), ("deletion", ORDERS, range(0, 101, 10))]
    frames = [of_models(panel=panel, method=("probe", "ours"), group=groups, x=x, images=200) for panel, groups, x in panels]
    return measured(pl.concat(frames), low=10, high=90).with_columns(chance=pl.lit(10.0))


def scores() -> pl.DataFrame:
    frame = of_models(method=(*METHODS, "background", "centre"))
    for measure in MEASURES:
        of = measured(frame, low=10, high=90).select(pl.col("mean", "low", "high").name.prefix(f"{measure}_"))
        frame = pl.concat([frame, of.rename({f"{measure}_mean": measure})], how="horizontal").with_columns(
            pl.lit(200).alias(f"{measure}_n")
        )
    undefined = pl.when(pl.col("method") != "probe")
    return frame.with_columns(undefined.then("positive_share"), undefined.then("positive_share_n").otherwise(0))


def saco() -> pl.DataFrame:
    frame = measured(of_models(method=METHODS, saco_n=200), low=-0.4, high=0.8)
    return frame.rename({"mean": "saco", "low": "saco_low", "high": "saco_high"})


def maps() -> pl.DataFrame:
    """Maps of two classes for three images, whose files have the names of ImageNet's."""
    photograph = relevance_maps.photograph({"pixels": bytes(range(192)), "height": 8, "width": 8})
    frame = crossed(image_id=range(3), class_index=(2, 3), row=range(2), column=range(2), label="ViT, [CLS]", block=0, head=0, share=100.0)
    names = {2: "great white shark, white shark", 3: "n01494475 hammerhead, hammerhead shark"}
    return measured(frame, "relevance", -1, 1).with_columns(
        path=pl.lit("validation/n01484850/ILSVRC2012_val_00000293.JPEG"),
        class_name=pl.col("class_index").replace_strict(names).str.replace(r"^n\d+ ", ""),
        own_class=pl.col("class_index") == 2,
        on_object=pl.col("row") == 0,
        photograph=pl.lit(photograph),
    )


def heads() -> pl.DataFrame:
    frame = maps().filter(pl.col("image_id") == 0, pl.col("own_class")).drop("block", "head", "relevance")
    return measured(frame.join(crossed(block=BLOCKS, head=range(4)), how="cross").sort("block", "head"), "relevance", -1, 1)


def effects() -> pl.DataFrame:
    late = measured(of_models(panel="cumulative", part=("heads", "mlps", "all"), block=BLOCKS, images=200, intact=94.0), low=10, high=90)
    single = of_models(panel="effects", part=("head", "mlp"), block=BLOCKS, images=50)
    for kind in ("direct", "total"):
        of_kind = measured(single).select(pl.col("mean").alias(kind), pl.col("low", "high").name.prefix(f"{kind}_"))
        single = pl.concat([single, of_kind], how="horizontal")
    return pl.concat([late, single], how="diagonal_relaxed")


def terms() -> pl.DataFrame:
    parts = [
        crossed(part="head", block=BLOCKS, head=range(4)),
        crossed(part=("heads", "mlp"), block=BLOCKS),
        crossed(part=("embedding", "biases")),
    ]
    frame = measured(pl.concat(parts, how="diagonal"), low=-0.2, high=0.6)
    return frame.with_columns(label=pl.lit("ViT, [CLS]"), images=200)


FRAMES = {
    "identifiability_evolution": boxes,
    "mean_evolution": lambda: over_blocks(tokens=("cls", "image")),
    "change_rate": over_blocks,
    "class_vs_context": lambda: over_blocks(quantity=("class", "context", "difference")).filter(model="a"),
    "class_building": building,
    "class_value_agreement": lambda: over_blocks(layer=SUBLAYERS, classes=10).drop("images"),
    "key_value_agreement": lambda: over_blocks(layer=SUBLAYERS, tokens=("all", "cls")).with_columns(tokens_name=pl.col("tokens")),
    "memory_comparison": lambda: over_blocks(measure=("class_value", "key_value"), layer=SUBLAYERS, classes=10),
    "agreement_difference": lambda: over_blocks(layer=SUBLAYERS, images_right=188, images_wrong=12).rename({"mean": "difference"}),
    "compositionality": lambda: over_blocks(layer=SUBLAYERS, tokens=("all", "cls")).with_columns(tokens_name=pl.col("tokens")),
    "relevance_maps": maps,
    "relevance_heads": heads,
    "deletion_curves": lambda: measured(
        of_models(method=METHODS, order=ORDERS, share=range(0, 101, 10), images=200, chance=10.0), low=10, high=90
    ),
    "faithfulness": saco,
    "segmentation_scores": scores,
    "probes_vs_projection": probes,
    "attribution": terms,
    "attribution_over_depth": lambda: over_blocks(part=("head", "mlp")),
    "ablation": effects,
    "tuned_lens": lambda: measured(
        of_models(panel=("first", "kl"), lens=("logit", "tuned"), tokens=("cls", "image"), block=BLOCKS, images=200, chance=10.0),
        low=1,
        high=4,
    ),
}


@cache
def figure_of(name: str, width: str) -> Figure:
    """A figure of the catalogue, drawn once for all tests."""
    with canvas.styled():
        figure = import_module(f"classlens.figures.{name}").draw(FRAMES[name](), canvas.WIDTHS[width])
        canvas.settle(figure)
    plt.close(figure)
    return figure


def texts(figure: Figure) -> list[Text]:
    """All texts that are seen."""
    shown = [artist for axes in figure.axes if axes.get_visible() for artist in axes.findobj(Text)]
    others = [artist for artist in figure.findobj(Text) if not artist.axes]
    return [text for text in dict.fromkeys([*shown, *others]) if text.get_visible() and text.get_text().strip()]


def legends(figure: Figure) -> list[Legend]:
    return figure.findobj(Legend)


def misplaced(figure: Figure) -> list[Any]:
    """Texts and legends that leave the figure, and titles and labels that overlap."""
    with canvas.styled():  # ticks depend on it
        figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_visible()]
    titles = [text for axes in panels for text in (*axes.get_children(), axes.xaxis.label, axes.yaxis.label) if isinstance(text, Text)]
    boxes = {text: text.get_window_extent() for text in titles if text.get_text() and text.get_visible()}
    every = boxes | {legend: legend.get_window_extent() for legend in legends(figure)}
    page = figure.bbox.expanded(1.01, 1.01)
    outside = [artist for artist, box in every.items() if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1))]
    pairs = combinations(every.items(), 2)
    return outside + [(one, other) for (one, box), (other, over) in pairs if box.overlaps(over)]


@dataclass(frozen=True)
class Look:
    """Return what tells an artist from others: its colour, and everything else."""

    colour: tuple[float, ...]
    sign: tuple[object, ...]

    def differs(self, other: "Look", vision: str) -> bool:
        return self.sign != other.sign or distance(np.array(self.colour), np.array(other.colour), vision) >= LEAST_DISTANCE


def look_of(artist: Artist) -> Look:
    """The look of a line, or of an area with or without a hatch, on white paper."""
    if isinstance(artist, Line2D):
        is_open = artist.get_marker() not in ("None", None, "") and min(to_rgb(artist.get_markerfacecolor())) == 1
        return Look(to_rgb(artist.get_color()), ("line", artist.get_linestyle(), artist.get_marker(), is_open))
    faces = np.atleast_2d(artist.get_facecolor())
    red, green, blue, opacity = to_rgba(tuple(faces[0])) if faces.size else (1.0, 1.0, 1.0, 0.0)
    filled = tuple(1 - opacity * (1 - channel) for channel in (red, green, blue))
    is_open = min(filled) == 1
    return Look(to_rgb(np.atleast_2d(artist.get_edgecolor())[0]) if is_open else filled, ("area", artist.get_hatch(), is_open))


def entries(legend: Legend) -> Iterator[tuple[str, Look]]:
    """Each entry of a legend, and its look."""
    for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True):
        assert handle is not None
        yield text.get_text(), look_of(handle)


def series(axes: Axes) -> dict[tuple[str, tuple[float, ...]], Look]:
    """The looks of all lines and hatched areas that show numbers, by label and colour: twins of two models have one label."""
    lines = [line for line in axes.lines if not str(line.get_label()).startswith("_") and len(line.get_xdata())]
    areas = [area for area in (*axes.collections, *axes.patches) if isinstance(area, Artist) and area.get_hatch()]
    return {(str(artist.get_label()), look_of(artist).colour): look_of(artist) for artist in (*lines, *areas)}
