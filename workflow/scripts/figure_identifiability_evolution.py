"""Draw F1: distribution of class identifiability in each block, tested against random weights."""

from classlens.figures import canvas, identifiability_evolution

if __name__ == "__main__":
    canvas.draw_figure(__doc__, identifiability_evolution.data, identifiability_evolution.draw, inputs=("ranks",))
