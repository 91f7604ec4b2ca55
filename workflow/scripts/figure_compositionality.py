"""Draw F10: share of tokens at which a layer writes the class of one of the memories used."""

from classlens.figures import canvas, compositionality

if __name__ == "__main__":
    canvas.draw_figure(__doc__, compositionality.data, compositionality.draw, inputs=("chance",))
