"""What holds for images whatever they are used for: transforms and feature spaces."""
