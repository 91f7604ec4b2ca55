"""Measure how often the intervals of `statistics` contain the true mean: python tools/interval_coverage.py --page docs/statistics.md."""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from classlens import statistics

SIZES, PROBABILITIES, TOKENS = (20, 200), (0.5, 0.9, 0.98, 0.995), 49
MARK = "<!-- coverage: written by tools/interval_coverage.py -->"


def wilson_coverage(p: float, n: int) -> float:
    """Return the exact coverage of Wilson's interval, from the binomial distribution."""
    counts = np.arange(n + 1)
    low, high = statistics.wilson(counts / n, np.full(n + 1, n))
    return float(stats.binom.pmf(counts, n, p)[(low <= p) & (p <= high)].sum())


def shares(kind: str, p: float, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return simulated shares of an image's tokens with mean p, [image, simulation].

    Args:
        kind: `alike`: images differ little; `apart`: most shares are near 0 or 1; `mixed`: half of the shares are exactly 0 or 1.
        p: mean.
        size: number of images and of simulations.
        rng: random number generator.
    """
    concentration = {"alike": 20.0, "apart": 0.3, "mixed": 4.0}[kind]
    of_image = rng.beta(p * concentration, (1 - p) * concentration, size)
    values = rng.binomial(TOKENS, of_image) / TOKENS
    if kind == "mixed":
        values = np.where(rng.random(size) < 0.5, rng.random(size) < p, values)
    return values


def share_coverage(kind: str, p: float, n: int, simulations: int, seed: int = 0) -> float:
    """Return the share of simulations in which the interval of a mean of shares contains the true mean."""
    values = shares(kind, p, (n, simulations), np.random.default_rng(seed))
    found = statistics.mean_interval(values, seed, "share")
    return float(((found.low <= p) & (p <= found.high)).mean())


def table(simulations: int) -> str:
    """Return the coverage of every cell as Markdown."""
    lines = ["| images | mean | proportion (exact) | shares, alike | shares, apart | shares, mixed |", "|---|---|---|---|---|---|"]
    for n in SIZES:
        for p in PROBABILITIES:
            cells = [wilson_coverage(p, n), *(share_coverage(kind, p, n, simulations) for kind in ("alike", "apart", "mixed"))]
            lines.append(f"| {n} | {p:g} | {' | '.join(f'{100 * cell:.1f} %' for cell in cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, required=True, help="page whose end, below the mark, is replaced by the table")
    parser.add_argument("--simulations", type=int, default=4000)
    args = parser.parse_args()
    text = args.page.read_text(encoding="utf-8").partition(MARK)[0]
    args.page.write_text(f"{text}{MARK}\n\n{table(args.simulations)}\n", encoding="utf-8")
