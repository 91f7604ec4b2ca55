"""A model made from what a config says of it, checked, and kept as weights and a card."""

import argparse
from pathlib import Path

from classlens import class_embedding, cli, models, storage
from classlens.hub import Hub
from classlens.manifest_classes import classes_of
from classlens.protocol import Protocol
from classlens.provenance import check_sha256
from classlens.trace import ViT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments from which `make` makes a model."""
    parser.add_argument("--arch", required=True, help="name of the model in timm, or hf-hub: and a repository")
    parser.add_argument("--weights", choices=["pretrained", "random", "checkpoint"], required=True, help="where the weights come from")
    parser.add_argument("--checkpoint", type=cli.optional_path, help="file of the weights, for --weights checkpoint")
    parser.add_argument("--sha256", type=cli.optional_text, help="what the file of the weights must have, in hexadecimal")
    parser.add_argument("--hub-cache", type=cli.optional_path, help="cache folder of the hub; the client's own if left out")
    parser.add_argument("--offline", type=cli.json_argument, default=False, help="never ask the hub over the network (true or false)")
    parser.add_argument("--kwargs", type=cli.json_argument, default={}, help="arguments of timm.create_model, as JSON")
    parser.add_argument("--key-prefix", default="", help="prefix to take off the checkpoint's parameter names")
    parser.add_argument(
        "--ignore-keys", type=cli.json_argument, default=[], help="patterns of parameters that only the checkpoint has, as a JSON list"
    )
    parser.add_argument("--class-embedding", type=cli.optional_path, help="vectors of the classes to use instead of the model's head")
    parser.add_argument("--normalization", choices=["none", "cosine"], default="none", help="how states and vectors are compared")
    parser.add_argument("--temperature", type=float, default=1.0, help="what the products of states and vectors are divided by")
    parser.add_argument("--manifest", type=Path, nargs="*", default=[], help="manifest of the data set, for --class-embedding")
    parser.add_argument("--transform", type=cli.json_argument, help="image transform, as JSON; null for the default")
    parser.add_argument("--num-classes", type=int, required=True, help="number of classes of the data set")


def make(args: argparse.Namespace, seed: int, weights: Path, card: Path) -> None:
    """Make a model, check that it is what the method assumes, and write it.

    Args:
        args: see `add_arguments`.
        seed: of random weights.
        weights: safetensors file to write.
        card: model.json to write.

    Raises:
        InputError: the model, its weights or its class embedding do not fit.
    """
    hub = Hub(args.hub_cache, args.offline)
    architecture = hub.architecture(args.arch)
    file = hub.weights(architecture) if args.weights == "pretrained" else args.checkpoint
    source = _source_of(args, file)
    model = models.make_model(
        architecture,
        args.weights,
        args.kwargs,
        args.num_classes,
        seed,
        file,
        args.key_prefix,
        args.ignore_keys,
        (lambda model: _give_head(model, args)) if args.class_embedding else None,
    )
    models.save(model, weights)
    kwargs = {**architecture.kwargs, **args.kwargs}
    models.describe(model, architecture.name, kwargs, source, args.transform, Protocol.named(args.protocol), weights).write(card)


def _source_of(args: argparse.Namespace, file: Path | None) -> str:
    """Return where the weights come from; with the sha256 of their file, if there is one, which must be that of the config."""
    name = args.checkpoint.name if args.checkpoint else args.weights
    return f"{name}, sha256 {check_sha256(file, args.sha256)}" if file else name


def _give_head(model: ViT, args: argparse.Namespace) -> None:
    """Replace a model's head by the class embedding that was asked for."""
    vectors = class_embedding.read(args.class_embedding, classes_of(storage.read_table(args.manifest[0])))
    vectors = vectors.random() if args.weights == "random" else vectors
    class_embedding.attach(model, vectors, args.normalization == "cosine", args.temperature, str(args.class_embedding))
