"""The studio: the pages of ``slipcast studio``, their server, and the process that works off its queue."""
