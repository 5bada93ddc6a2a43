"""Membership inference: images in hand, how well the weights tell those of training from the others.

``families.py`` collects the raw scores, one file for each family; ``inference.py`` turns them into measurements.
"""
