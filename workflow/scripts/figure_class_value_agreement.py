"""Draw F6: how well the values of memories agree with classes, against random weights."""

from classlens.figures import canvas, class_value_agreement

if __name__ == "__main__":
    canvas.draw_figure(__doc__, class_value_agreement.data, class_value_agreement.draw)
