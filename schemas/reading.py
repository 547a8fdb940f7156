"""What can come of reading bytes as one of the wire types, wherever that is done."""

from typing import Final, TypeVar

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no such record: for broken JSON or wrong contents, for
text that is not UTF-8 (which is not one of its own errors), and for what is nested too deep."""

SCHEMA_VERSION: Final = 1
"""Of the messages that this release writes, and the highest that it reads. Fields may be added
within a version, and values to enumerations; all else is a new version (`deploy.compatibility`).
A message without one is of version 1, so the fields' default stays."""

T = TypeVar("T")


class NewerMessageError(ValueError):
    """A message was written by a newer release, and to read it as far as it is understood would be
    to misread it; says what is new in it."""


class _Versioned(msgspec.Struct):
    schema_version: int = 1


def read(value: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """The message that these bytes are.

    Raises `NewerMessageError` for one that a newer release has written, else one of `UNREADABLE`.
    """
    try:
        message = decoder.decode(value)
    except UNREADABLE as error:
        if _is_versioned(decoder) and (new := _new_in(value, error)):
            raise NewerMessageError(new) from error
        raise
    if (version := getattr(message, "schema_version", 1)) > SCHEMA_VERSION:
        raise NewerMessageError(_of_version(version))
    return message


def _is_versioned(decoder: "msgspec.json.Decoder[T]") -> bool:
    """Whether it is a message of ours; what others write may call anything a version."""
    return "schema_version" in getattr(decoder.type, "__struct_fields__", ())


def _new_in(value: bytes, error: Exception) -> str:
    """What shows that a newer release wrote what cannot be read; empty if nothing does."""
    try:
        version = msgspec.json.decode(value, type=_Versioned).schema_version
    except UNREADABLE:
        return ""
    if version > SCHEMA_VERSION:
        return _of_version(version)
    # What is a message but for a value that no list has: the lists may have grown.
    return f"it holds an unknown value ({error})" if "enum value" in str(error) else ""


def _of_version(version: int) -> str:
    return f"it is of schema version {version}, and this release reads {SCHEMA_VERSION}"


def said(error: BaseException, path: object = None) -> str:
    """What went wrong, for a person: the file, if there is one, and the reason without its number.

    `path` names the file where the error itself does not.
    """
    named, reason = path, str(error)
    if isinstance(error, OSError) and error.strerror:
        named, reason = path or error.filename, error.strerror
    return reason if named is None else f"{named}: {reason}"
