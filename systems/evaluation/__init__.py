"""Figures that say how near pictures are to a domain, and to their words, by networks that nobody here trained."""
