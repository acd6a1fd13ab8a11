"""Readers of datasets that others made, and of anyone's own dialogues."""
