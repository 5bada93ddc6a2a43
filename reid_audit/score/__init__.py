"""Scoring: from reconstructions, images and weights to measurements, one file for each metric."""
