"""Scores of a model on a data set: counting, metrics, the result and its report."""
