"""Draw F4: class identifiability of class and of context tokens, for one model."""

from classlens.figures import canvas, class_vs_context

if __name__ == "__main__":
    canvas.draw_figure(__doc__, class_vs_context.data, class_vs_context.draw)
