"""Draw F8: the memories of all models side by side."""

from classlens.figures import canvas, memory_comparison

if __name__ == "__main__":
    canvas.draw_figure(__doc__, memory_comparison.data, memory_comparison.draw, inputs=("class-value", "chance"))
