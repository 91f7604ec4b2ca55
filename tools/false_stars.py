"""Measure how often tests between models with random weights give false stars, and write the shares into docs/statistics.md.

Run it with `--page docs/statistics.md --results results/RUN`, for a run whose models have many random twins, such as the demo with
`random_twin: {seeds: 150}`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import mannwhitneyu

from classlens import statistics
from classlens.storage import parquet
from classlens.vocabulary import SUBLAYERS

TWINS = 5
Test = Callable[[np.ndarray, list[np.ndarray]], np.ndarray]
BEGIN, END = "<!-- stars: written by tools/false_stars.py -->", "<!-- end of stars -->"


def tables(results: Path, model: str, analysis: str, name: str) -> list[pl.DataFrame]:
    """Return a table of each random twin of a model."""
    paths = sorted(path for folder in (results / analysis).glob(f"{model}_random*") for path in folder.rglob(name))
    paths = [path for path in paths if not path.stem.endswith("_ranks")]
    return [pl.DataFrame(parquet.read_table(path)) for path in paths]


def means(found: list[pl.DataFrame], tokens: str) -> np.ndarray:
    """Return the mean identifiability over images, [twin, block]."""
    return np.array([statistics.matrix(frame.filter(tokens=tokens), "identifiability").mean(axis=0) for frame in found])


def starred(values: np.ndarray, test: Test, draws: int, rng: np.random.Generator) -> float:
    """Return the share of draws with a star in some block. Each draw takes one model as the model and five others as its twins.

    Args:
        values: the tested values of each model, [model, ...].
        test: function that returns p per block.
        draws: number of draws of six models.
        rng: random number generator.
    """
    stars = 0
    for _ in range(draws):
        model, *twins = values[rng.choice(len(values), TWINS + 1, replace=False)]
        stars += bool((statistics.holm(test(model, twins)) < statistics.SIGNIFICANT).any())
    return stars / draws


def by_spread(model: np.ndarray, twins: list[np.ndarray]) -> np.ndarray:
    """Return p as in F1, for means [block]."""
    return statistics.against_twins(model, np.array(twins))[1]


def by_classes(model: np.ndarray, twins: list[np.ndarray]) -> np.ndarray:
    """Return p as in F6, for agreements [class, block]."""
    return mannwhitneyu(model, np.concatenate(twins)).pvalue


def table(results: Path, draws: int, seed: int = 0) -> str:
    """Return the table of shares of draws with a star, as Markdown."""
    lines = ["| figure | model | tested | random models | draws with a star |", "|---|---|---|---|---|"]
    for model in sorted(path.name.removesuffix("_random") for path in (results / "models").glob("*_random")):
        found = tables(results, model, "identifiability", "*.parquet")
        for tokens in found[0]["tokens"].unique().sort():
            share = starred(means(found, tokens), by_spread, draws, np.random.default_rng(seed))
            lines.append(f"| F1 | {model} | {tokens} tokens | {len(found)} | {100 * share:.1f} % |")
        agreements = tables(results, model, "memories", "class_value_agreement.parquet")
        for layer in SUBLAYERS:
            frames = [frame.filter(layer=layer).rename({"class_index": "image_id"}) for frame in agreements]
            values = np.array([statistics.matrix(frame, "agreement") for frame in frames])
            share = starred(values, by_classes, draws, np.random.default_rng(seed))
            lines.append(f"| F6 | {model} | {layer} | {len(frames)} | {100 * share:.1f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results of the run")
    parser.add_argument("--page", type=Path, required=True, help="page whose table between the two marks is replaced")
    parser.add_argument("--draws", type=int, default=2000)
    args = parser.parse_args()
    before, _, rest = args.page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    args.page.write_text(f"{before}{BEGIN}\n\n{table(args.results, args.draws)}\n\n{END}{after}", encoding="utf-8")
