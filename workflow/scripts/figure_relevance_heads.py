"""Draw F11: relevance maps of each block and head, of one model."""

from classlens.figures import canvas, relevance_heads

if __name__ == "__main__":
    canvas.draw_figure(__doc__, relevance_heads.data, relevance_heads.draw, inputs=("shown", "manifest"))
