"""Write the explorer's files of one model: its images, with their values from all tables."""

from argparse import Namespace

import cli
import guide_cli
from classlens.config.steps import ExplorerModelStep
from classlens.explorer.model_files import ModelFiles, Sources, Wanted


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, ExplorerModelStep).maybe(root="folder of the data set, if its images are available")
    parser.maybe(mask_root="folder that the paths of masks are relative to")
    parser.one(manifest="manifest of the split", card="model.json of the model", predictions="predictions")
    parser.many(projections="shards of projections, in order", class_logits="the same shards of logits of classes of interest")
    parser.many(memory_keys="the same shards of active memories, if available")
    parser.maybe(interpretable_values="table of interpretable values", tokens="token labels", ranks="ranks under perturbations")
    parser.maybe(accuracy="correctness under perturbations", relevance="relevance maps")
    parser.maybe(attribution="terms of heads and MLPs for the true class and its rival, by token")
    parser.many(
        tuned="the same shards of projections through the tuned lens, if shown", tuned_logits="their logits of the classes of interest"
    )
    return guide_cli.of_guide(parser).one(folder="folder to write")


def main(args: Namespace, settings: ExplorerModelStep) -> None:
    sources = Sources(**{name: getattr(args, name) for name in Sources.__dataclass_fields__})
    wanted = Wanted(name=settings.name, choice=guide_cli.choice(args, settings.images), twin=settings.twin)
    ModelFiles(sources, wanted, args.root, args.mask_root).write(args.folder, args.threads)


if __name__ == "__main__":
    cli.run(main, arguments())
