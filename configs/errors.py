"""The one family of errors that users see: a sentence each, no traceback without ``--debug``."""


class SlipcastError(Exception):
    """Something failed; the command line ends with exit code 1."""


class BadInput(SlipcastError):
    """The user's input cannot be used; the command line ends with exit code 2."""
