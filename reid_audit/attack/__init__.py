"""Target + prior -> images, one file per method."""
