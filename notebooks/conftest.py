"""What nbval compares when it runs the chapters: all text, no pictures."""

from __future__ import annotations

import pytest
from nbval.plugin import IPyNbFile


def pytest_collectstart(collector: pytest.Collector) -> None:
    # nbval leaves out PNG and JPEG by itself. The chapters draw SVG; no images are committed.
    if isinstance(collector, IPyNbFile):
        collector.skip_compare += ("image/svg+xml",)
