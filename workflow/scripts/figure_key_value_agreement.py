"""Draw F7: share of tokens that use a memory of their class, for all models."""

from classlens.figures import canvas, key_value_agreement

if __name__ == "__main__":
    canvas.draw_figure(__doc__, key_value_agreement.data, key_value_agreement.draw, inputs=("chance",))
