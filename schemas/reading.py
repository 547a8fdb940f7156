"""What can come of reading bytes as one of the wire types, wherever that is done."""

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no such record: for broken JSON or wrong contents, for
text that is not UTF-8 (which is not one of its own errors), and for what is nested too deep."""


def said(error: BaseException, path: object = None) -> str:
    """What went wrong, for a person: the file, if there is one, and the reason without its number.

    `path` names the file where the error itself does not.
    """
    named, reason = path, str(error)
    if isinstance(error, OSError) and error.strerror:
        named, reason = path or error.filename, error.strerror
    return reason if named is None else f"{named}: {reason}"
