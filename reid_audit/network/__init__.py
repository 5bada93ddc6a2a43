"""What attack and score ask of a network: its statistics, layers, head, and the way from its base."""
