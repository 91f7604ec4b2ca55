"""A model made from what a config says of it, checked, and kept as weights and a card."""

import argparse
from pathlib import Path

from classlens import checkpoints, class_embedding, cli, labels, models, storage
from classlens.checkpoints import Checkpoint
from classlens.hub import Architecture, Hub
from classlens.manifest_classes import classes_of, order_of
from classlens.protocol import Protocol
from classlens.provenance import check_sha256
from classlens.trace import ViT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments from which `make` makes a model."""
    parser.add_argument("--arch", required=True, help="name of the model in timm, or hf-hub: and a repository")
    parser.add_argument("--weights", choices=["pretrained", "random", "checkpoint"], required=True, help="where the weights come from")
    parser.add_argument("--checkpoint", type=cli.optional_path, help="file of the weights, for --weights checkpoint")
    parser.add_argument("--sha256", type=cli.optional_text, help="expected sha256 of the file of the weights, in hexadecimal")
    parser.add_argument("--hub-cache", type=cli.optional_path, help="cache folder of the hub; the client's own if left out")
    parser.add_argument("--offline", type=cli.json_argument, default=False, help="never ask the hub over the network (true or false)")
    parser.add_argument("--kwargs", type=cli.json_argument, default={}, help="arguments of timm.create_model, as JSON")
    parser.add_argument("--key-prefix", default="", help="prefix to take off the checkpoint's parameter names")
    parser.add_argument(
        "--ignore-keys", type=cli.json_argument, default=[], help="patterns of parameters that only the checkpoint has, as a JSON list"
    )
    parser.add_argument("--class-embedding", type=cli.optional_path, help="vectors of the classes to use instead of the model's head")
    parser.add_argument("--normalization", choices=["none", "cosine"], default="none", help="how states and vectors are compared")
    parser.add_argument(
        "--projection", choices=["keep", "drop", "auto"], default="auto", help="the model's head before the vectors; auto: by their width"
    )
    parser.add_argument("--temperature", type=float, default=1.0, help="what the products of states and vectors are divided by")
    parser.add_argument("--class-list", type=Path, nargs="*", default=[], help="classes of the data set, in the order of their indices")
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
    checkpoint, source = _read(args, file)
    model = models.make_model(
        architecture,
        args.weights,
        args.kwargs,
        args.num_classes,
        seed,
        checkpoint,
        args.key_prefix,
        args.ignore_keys,
        (lambda model: _give_head(model, args, architecture)) if args.class_embedding else None,
    )
    known = _arrange(model, args, architecture, checkpoint) if checkpoint and not args.class_embedding else None
    models.save(model, weights)
    kwargs = {**architecture.kwargs, **args.kwargs}
    models.describe(model, architecture.name, kwargs, source, args.transform, Protocol.named(args.protocol), weights, known).write(card)


def _read(args: argparse.Namespace, file: Path | None) -> tuple[Checkpoint | None, str]:
    """Return the weights in a file, which must have the config's sha256, and where they come from, for model.json."""
    name = args.checkpoint.name if args.checkpoint else args.weights
    if file is None:
        return None, name
    digest = check_sha256(file, args.sha256)
    checkpoint = checkpoints.read(file)
    nest = f", `{checkpoint.nest}`" if checkpoint.nest else ""
    return checkpoint, f"{name}{nest}, sha256 {digest}"


def _give_head(model: ViT, args: argparse.Namespace, architecture: Architecture) -> None:
    """Replace a model's head by the class embedding that was asked for."""
    vectors = class_embedding.read(args.class_embedding, classes_of(storage.read_table(args.class_list[0])))
    vectors = vectors.random() if args.weights == "random" else vectors
    known = None if args.weights == "checkpoint" else class_embedding.is_projection(architecture.name, architecture.facts)
    projection = {"keep": True, "drop": False, "auto": None}[args.projection]
    comparison = class_embedding.Comparison(args.normalization == "cosine", args.temperature, projection, known)
    class_embedding.attach(model, vectors, comparison, str(args.class_embedding))


def _arrange(model: ViT, args: argparse.Namespace, architecture: Architecture, checkpoint: Checkpoint) -> str | None:
    """Put the rows of a model's own head in the order of the data set's classes, and return how the order is known."""
    listed = storage.read_table(args.class_list[0])
    found = labels.of_model(architecture, checkpoint, args.weights == "pretrained")
    return labels.arrange(model, found, classes_of(listed), order_of(listed), args.arch)
