"""Draw F2: mean class identifiability over blocks, for all models."""

from classlens.figures import canvas, mean_evolution

if __name__ == "__main__":
    canvas.draw_figure(__doc__, mean_evolution.data, mean_evolution.draw)
