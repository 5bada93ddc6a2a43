"""Reconstruction: from a network and a prior to images, one file for each method."""
