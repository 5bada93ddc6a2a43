"""What several measurements need: films, targets, attacks on them, and tables of pages."""
