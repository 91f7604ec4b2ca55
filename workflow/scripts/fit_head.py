"""Fit a model's head to the features of a split, and write it as a class embedding with its accuracies."""

from argparse import Namespace
from dataclasses import replace

import cli
from classlens.config.steps import FitStep
from classlens.data.manifest_classes import classes_of
from classlens.errors import InputError
from classlens.models import features, fitted_head
from classlens.models.fitted_head import Features
from classlens.storage import parquet


def arguments() -> cli.Parser:
    parser = cli.Parser(__doc__, FitStep).one(manifest="manifest of the split to fit on", features="its features")
    return parser.one(analysed_features="features of the analysed split", class_embedding="class embedding to write")


def main(args: Namespace, settings: FitStep) -> None:
    if settings.fit is None:
        raise InputError("option `fit` is missing: give linear, prototypes or ridge")
    classes = classes_of(parquet.read_table(args.manifest))
    values, numbers, read_out = features.read(args.features)
    vectors, facts = fitted_head.fit(settings.fit, Features(values, numbers), classes, settings.seed)
    rate = fitted_head.accuracy(vectors, Features(*features.read(args.analysed_features)[:2]))
    named = {"fit": settings.fit, "split": settings.split, "analysed": settings.analysed, "read_out": read_out}
    replace(vectors, facts={**named, **facts, "accuracy": rate}).write(args.class_embedding, classes)


if __name__ == "__main__":
    cli.run(main, arguments())
