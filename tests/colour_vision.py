"""How colours look to people with other colour vision, and in print without colour.

Matrices of full severity, for linear RGB: Machado, Oliveira & Fernandes, A Physiologically-based Model for Simulation of Color Vision
Deficiency, IEEE TVCG 2009, doi:10.1109/TVCG.2009.113.
"""

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

MATRICES = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
    "greyscale": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),  # relative luminance
}
VISIONS = tuple(MATRICES)


def seen(rgb: np.ndarray, vision: str) -> np.ndarray:
    """An sRGB colour, from 0 to 1, as it looks."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    found = np.clip(MATRICES[vision] @ linear, 0, 1)
    return np.where(found <= 0.0031308, 12.92 * found, 1.055 * found ** (1 / 2.4) - 0.055)


def distance(one: np.ndarray, other: np.ndarray, vision: str) -> float:
    """The difference of two sRGB colours as they look, CIEDE2000."""
    return float(deltaE_ciede2000(*(rgb2lab(seen(colour, vision)) for colour in (one, other))))
