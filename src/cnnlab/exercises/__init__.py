"""Checks of the exercises: one module per chapter, one ``check_…`` function per exercise.

Each returns a `Report`; how a check is written stands in `cnnlab.exercises.report`.
"""

from cnnlab.exercises.report import Attempt, Report, check

__all__ = ["Attempt", "Report", "check"]
