"""Write the explorer's files of one model: its images with everything that the tables say of them."""

import argparse
from pathlib import Path

from classlens import cli
from classlens.explorer.model_files import ModelFiles, Sources


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--name", required=True, help="the model's name in the config")
    parser.add_argument("--root", type=cli.optional_path, help="folder of the data set; None where there are no images")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of the split")
    parser.add_argument("--card", type=Path, required=True, help="model.json of the model")
    parser.add_argument("--predictions", type=Path, required=True, help="predictions")
    parser.add_argument("--projections", type=Path, nargs="+", required=True, help="shards of projections, in order")
    parser.add_argument("--class-logits", type=Path, nargs="+", required=True, help="the same shards of logits of classes of interest")
    parser.add_argument("--memory-keys", type=Path, nargs="*", default=[], help="the same shards of active memories, if there are any")
    for name in OPTIONAL:
        parser.add_argument(f"--{name}", type=Path, nargs="?", help=f"table of {name.replace('-', ' ')}, if there is one")
    parser.add_argument("--folder", type=Path, required=True, help="folder to write")
    return parser.parse_args()


OPTIONAL = ("interpretable-values", "tokens", "ranks", "accuracy", "relevance")


def main(args: argparse.Namespace) -> None:
    sources = Sources(**{name: getattr(args, name) for name in Sources.__dataclass_fields__})
    ModelFiles(sources, args.name, args.root).write(args.folder, args.threads)


if __name__ == "__main__":
    cli.run(main, arguments())
