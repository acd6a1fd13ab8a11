"""Fetching datasets: dialogues, photos, and a manifest that says what is missing."""
