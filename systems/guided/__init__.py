"""Which network is told what: from a user's words to branches, terms and weights."""
