"""Membership inference: given images, how well the weights tell those used in training from the others.

``families.py`` collects the raw scores, one file for each family; ``inference.py`` turns them into measurements.
"""
