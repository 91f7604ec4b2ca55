"""Draw F12: how well each relevance map finds the object."""

from classlens.figures import canvas, segmentation_scores

if __name__ == "__main__":
    canvas.draw_figure(__doc__, segmentation_scores.data, segmentation_scores.draw)
