"""Name the figures and tables of a run, once it is complete."""

import argparse
from pathlib import Path


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


if __name__ == "__main__":
    main()
