"""Tensors -> Target: which network a state_dict is, and a module that runs it."""
