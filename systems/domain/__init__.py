"""A domain: a null-text network beside its base, loaded or learned from pictures."""
