"""Name the figures and tables of a run, once it is complete."""

import argparse
import csv
from pathlib import Path


def print_reproduction(path: Path) -> None:
    """How many of the expected numbers were reproduced, and which were not."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] != "not run"]
    print(f"Reproduction ({path}): {sum(row['status'] == 'pass' for row in rows)} of {len(rows)} numbers within tolerance")
    for row in rows:
        if row["status"] == "fail":
            print(f"  {row['quantity']} of {row['model']}: {row['ours']} instead of {row['published']} (tolerance {row['tolerance']})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the run's results")
    parser.add_argument("--seconds", type=float, required=True, help="how long the run took")
    args = parser.parse_args()
    print(f"\nThe run {args.results.name} is complete ({args.seconds / 60:.1f} minutes).")
    for kind, pattern in (("Figures", "figures/*.svg"), ("Tables", "tables/*.csv")):
        print(f"{kind}:")
        for path in sorted(args.results.glob(pattern)):
            print(f"  {path}")
    reproduction = args.results / "reproduction.csv"
    if reproduction.is_file():
        print_reproduction(reproduction)


if __name__ == "__main__":
    main()
