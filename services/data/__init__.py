"""Data sets in the store: reading their files, opening their scenes, and which classes each scene shows."""
