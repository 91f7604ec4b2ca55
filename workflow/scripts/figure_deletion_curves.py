"""Draw F12: accuracy as tokens are removed in the order of each relevance map."""

from classlens.figures import canvas, deletion_curves

if __name__ == "__main__":
    canvas.draw_figure(__doc__, deletion_curves.data, deletion_curves.draw)
