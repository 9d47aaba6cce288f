"""Pictures of ``slipcast image``."""
