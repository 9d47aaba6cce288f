"""The two papers' tables, rerun from nothing: a plan of cells, each computed once, and the page that they make."""
