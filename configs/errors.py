"""The one family of errors that users see: a sentence each, no traceback without ``--debug``."""


class SlipcastError(Exception):
    """Something failed; the command line ends with exit code 1."""


class BadInput(SlipcastError):
    """The user's input cannot be used; the command line ends with exit code 2."""


def in_one_line(error: Exception, most: int = 200) -> str:
    """What a library's error says, for our sentence: in one short line, without characters that act on a terminal.

    Messages about damaged files quote what is in the files.
    """
    words = " ".join(str(error).split())
    return (
        "".join(letter if letter.isprintable() else "\ufffd" for letter in words[:most])
        or type(error).__name__
    )
