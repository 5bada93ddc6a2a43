"""The embedded example: procedural chest films and four small targets, no download and no patient."""
