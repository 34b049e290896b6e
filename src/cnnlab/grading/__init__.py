"""Grades a class: reads the files handed in, runs them isolated, writes scores and feedback."""
