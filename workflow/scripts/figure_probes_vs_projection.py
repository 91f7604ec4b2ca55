"""Draw F13: linear probes against projections, by accuracy and by deletion."""

from classlens.figures import canvas, probes_vs_projection

if __name__ == "__main__":
    canvas.draw_figure(__doc__, probes_vs_projection.data, probes_vs_projection.draw, inputs=("identifiability", "deletion"))
