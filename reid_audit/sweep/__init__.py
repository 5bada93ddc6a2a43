"""Many audits: each is the command ``check`` in a process of its own, here or on a Ray cluster, and is done once."""
