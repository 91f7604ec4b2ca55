"""Draw F9: key-value agreement of rightly against wrongly classified images."""

from classlens.figures import agreement_difference, canvas

if __name__ == "__main__":
    canvas.draw_figure(__doc__, agreement_difference.data, agreement_difference.draw)
