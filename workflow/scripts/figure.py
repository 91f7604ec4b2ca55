"""Write the numbers of a figure, and draw it in every requested format.

The first argument is the figure's name, such as mean_evolution. The other arguments depend on it.
"""

from argparse import Namespace
from importlib import import_module

import cli
from classlens.config.catalogue import FIGURES, Item
from classlens.config.steps import FigureStep
from classlens.figures import canvas
from classlens.presentation.numbers import numbers


def arguments(figure: Item) -> cli.Parser:
    parser = cli.Parser(f"{figure.letter}: {figure.title}", FigureStep)
    parser.many(**{name: f"{path}, of each model" for name, path in figure.inputs.items()})
    parser.one(csv="table to write").maybe(**{form: f"figure to write as {form}" for form in canvas.FORMATS})
    return parser.maybe(style="matplotlib style file that overrides the style of classlens")


def main(figure: Item, args: Namespace, settings: FigureStep) -> None:
    module = import_module(f"classlens.figures.{figure.name}")
    inputs = {name: getattr(args, name) for name in figure.inputs}
    frame = numbers(module.data, inputs, [model.model_dump() for model in settings.models], settings.protocol, settings.seed)
    drawings = {form: getattr(args, form) for form in canvas.FORMATS if getattr(args, form)}
    canvas.save(frame, module.draw, args.csv, drawings, width=settings.width, style=args.style)


if __name__ == "__main__":
    cli.run_named(FIGURES, arguments, main)
