"""Draw F5: change rates of sub-layers and residual composition, for one model."""

from classlens.figures import canvas, class_building

if __name__ == "__main__":
    canvas.draw_figure(__doc__, class_building.data, class_building.draw, inputs=("composition",))
