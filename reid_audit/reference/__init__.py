"""Reference models: networks like the audited one whose training films are known (Shokri et al., S&P 2017).

``parts.py`` deals the pooled patients out, ``fresh.py`` makes a network with the weights of nobody, ``training.py``
teaches it, ``shelf.py`` keeps it, ``models.py`` goes through all of them.
"""
