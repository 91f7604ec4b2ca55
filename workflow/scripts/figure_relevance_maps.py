"""Draw F11: relevance maps over photographs, for several classes, of one model."""

from classlens.figures import canvas, relevance_maps

if __name__ == "__main__":
    canvas.draw_figure(__doc__, relevance_maps.data, relevance_maps.draw, inputs=("shown", "manifest"))
