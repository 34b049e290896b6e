"""Every drawing of the book: arrays and integers in, a `Figure` out.

A figure at the end of a cell shows itself as one SVG; `Figure.to_svg` gives its text. pyplot is not used, so
nothing global changes. Colours keep their meaning through the whole book: input blue, filter orange, output
green, gradient purple, what matters now red and yellow.
"""

from cnnlab.figures.architecture import architecture
from cnnlab.figures.blocks_diagrams import branches, points, stacked_filters
from cnnlab.figures.channels import channel_grids, channel_links, channel_sum
from cnnlab.figures.curves import bars, confusion_matrix, curves
from cnnlab.figures.flow import (
    backward_flow,
    connections,
    full_correlation,
    gradient_stamp,
    pooling_backward,
    windows_added,
)
from cnnlab.figures.graphs import autograd_graph, computation
from cnnlab.figures.grids import (
    convolution,
    convolution_steps,
    equation,
    number_grid,
    padding,
    pooling,
    stride,
)
from cnnlab.figures.heatmaps import heatmaps
from cnnlab.figures.networks import network
from cnnlab.figures.pictures import filters, images, photo, photo_rgb, pictures
from cnnlab.figures.pixels import color_planes, flattening, pixel_values, tensor_axes
from cnnlab.figures.propagation import propagation
from cnnlab.figures.reach import receptive_field
from cnnlab.figures.scales import durations
from cnnlab.figures.shifts import pooled_pair
from cnnlab.figures.style import PALETTE, Figure
from cnnlab.figures.unfold import tensordot_axes, unfold_blocks, unfold_steps
from cnnlab.figures.volumes import blocks, convolution_blocks

__all__ = [
    "PALETTE",
    "Figure",
    "backward_flow",
    "architecture",
    "bars",
    "blocks",
    "channel_grids",
    "channel_links",
    "channel_sum",
    "autograd_graph",
    "bars",
    "blocks",
    "computation",
    "branches",
    "color_planes",
    "confusion_matrix",
    "connections",
    "convolution",
    "convolution_blocks",
    "convolution_steps",
    "curves",
    "durations",
    "equation",
    "filters",
    "full_correlation",
    "gradient_stamp",
    "heatmaps",
    "flattening",
    "images",
    "network",
    "number_grid",
    "padding",
    "photo",
    "photo_rgb",
    "pictures",
    "points",
    "pooled_pair",
    "pixel_values",
    "pooling",
    "receptive_field",
    "pooling_backward",
    "propagation",
    "stacked_filters",
    "stride",
    "windows_added",
    "tensordot_axes",
    "unfold_blocks",
    "unfold_steps",
    "tensor_axes",
]
