"""What the tests of the exercises say about a report."""

import re

from cnnlab.exercises import Report


def failed(report: Report, hint: str) -> None:
    """Assert that `report` failed with exactly the catalogue's `hint`, filled in."""
    assert (report.status, report.hint) == ("failed", hint)
    assert report.messages[0].strip()
    assert not re.search(r"\{\w+\}", str(report))
