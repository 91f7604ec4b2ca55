"""Draw F3: share of image tokens whose class logit grows in each block, for all models."""

from classlens.figures import canvas, change_rate

if __name__ == "__main__":
    canvas.draw_figure(__doc__, change_rate.data, change_rate.draw)
