"""T6: areas under the deletion curves of each method of relevance maps.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, method, order): area with its 95 % interval over images, and its difference from the area of random orders.

    Random orders have no direction, and have one row with the order `any`.
    """
    once = (pl.col("method") != "random") | (pl.col("order") == "negative")
    order = pl.when(pl.col("method") == "random").then(pl.lit("any")).otherwise(pl.col("order").cast(pl.String)).alias("order")
    return pl.concat(
        [labelled(item.frame.drop("seed", "protocol").filter(once).with_columns(order), item) for item in series], how="vertical_relaxed"
    )
