"""Predictions of a system: how they are made, and the folder that they are kept in."""
