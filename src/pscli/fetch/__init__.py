"""Bringing datasets to disk: dialogues, photos, and a manifest that says what is missing."""
