"""Mitigations after training: a checkpoint's network in, a copy that gives away less out.

One file a mitigation, with its idea, its source and what it does not protect from; one line each in ``registry.py``.
``interface.py`` says what they are given and give back, ``statistics.py`` makes and absorbs BatchNorm statistics,
``apply.py`` goes through those that are asked for, ``copy_file.py`` writes the copy.
"""
