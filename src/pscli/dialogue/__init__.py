"""Dialogues: what they are, how they become token sequences, how replies are read."""
