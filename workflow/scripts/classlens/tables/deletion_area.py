"""T6: areas under the deletion curves of every relevance map.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5; methods, section 9.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, method, order): area with its 95 % interval over images, and difference from the area of random orders.

    Random orders have no direction: they stand once, with the order `any`.
    """
    once = (pl.col("method") != "random") | (pl.col("order") == "negative")
    order = pl.when(pl.col("method") == "random").then(pl.lit("any")).otherwise(pl.col("order").cast(pl.String)).alias("order")
    return pl.concat(
        [labelled(item.frame.drop("seed", "protocol").filter(once).with_columns(order), item) for item in series], how="vertical_relaxed"
    )
