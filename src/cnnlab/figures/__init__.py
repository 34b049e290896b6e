"""Every drawing of the book: arrays and integers in, a `Figure` out.

A figure at the end of a cell shows itself as one SVG; `Figure.to_svg` gives its text. pyplot is not used, so
nothing global changes. Colours keep their meaning through the whole book: input blue, filter orange, output
green, gradient purple, what matters now red and yellow.
"""

from cnnlab.figures.curves import bars, confusion_matrix, curves
from cnnlab.figures.grids import (
    convolution,
    convolution_steps,
    equation,
    number_grid,
    padding,
    pooling,
    stride,
)
from cnnlab.figures.networks import network
from cnnlab.figures.pictures import filters, images, photo, pictures
from cnnlab.figures.style import PALETTE, Figure
from cnnlab.figures.volumes import blocks, convolution_blocks

__all__ = [
    "PALETTE",
    "Figure",
    "bars",
    "blocks",
    "confusion_matrix",
    "convolution",
    "convolution_blocks",
    "convolution_steps",
    "curves",
    "equation",
    "filters",
    "images",
    "network",
    "number_grid",
    "padding",
    "photo",
    "pictures",
    "pooling",
    "stride",
]
