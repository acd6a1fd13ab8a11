"""Datasets of photo-sharing dialogues: schema, sources, statistics."""
