"""T6: areas under the deletion curves of each method of relevance maps, and SaCo.

Source: Vilas, Schaumlöffel & Roig, NeurIPS 2023, section 5.
"""

import polars as pl

from classlens.presentation.series import Inputs, Series, labelled
from classlens.protocol import Protocol


def data(series: list[Series], inputs: Inputs, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Return rows (model, method, order): areas with their 95 % intervals over images, and their differences from those of random orders.

    Random orders have no direction, and have one row with the order `any`. SaCo belongs to the method, and is the same for both orders.
    """
    once = (pl.col("method") != "random") | (pl.col("order") == "negative")
    order = pl.when(pl.col("method") == "random").then(pl.lit("any")).otherwise(pl.col("order").cast(pl.String)).alias("order")
    frames = []
    for index, item in enumerate(series):
        frame = item.frame.drop("seed", "protocol").filter(once).with_columns(order)
        if inputs["faithfulness"]:
            scores = pl.DataFrame(inputs["faithfulness"][index]).select("method", "saco", "saco_low", "saco_high", "saco_n")
            frame = frame.join(scores, on="method", how="left", maintain_order="left")
        frames.append(labelled(frame, item))
    return pl.concat(frames, how="vertical_relaxed")
