"""What can come of reading bytes as one of the wire types, wherever that is done."""

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no such record: for broken JSON or wrong contents, for
text that is not UTF-8 (which is not one of its own errors), and for what is nested too deep."""
