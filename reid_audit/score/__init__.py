"""Images -> measurements, one file per metric."""
