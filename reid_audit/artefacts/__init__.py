"""Files of tensors made from images, a prior or a predictor, and what they were made from."""
