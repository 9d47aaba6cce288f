"""Files for other programs: one writer per format, all of one asset."""
