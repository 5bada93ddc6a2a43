"""Image priors: what the attacker knows of the modality before seeing the weights."""
