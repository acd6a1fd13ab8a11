"""Photoworld: drawn scenes and the talk about them, with the truth of every response.

A guest of the package: nothing outside this folder names it but by strings of the registry.
"""
