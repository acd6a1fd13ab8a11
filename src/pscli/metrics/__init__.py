"""Scores of predictions: a value never travels without how it was computed."""
