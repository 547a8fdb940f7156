"""What every page of a sink is made with, so that all are escaped and none loads foreign code."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def templates(folder: Path) -> Environment:
    """The HTML templates of a folder: values are escaped, and a name that is not there raises."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inline(style: str) -> str:
    """The source that allows just this style inside a page."""
    return f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"


def content_security_policy(*, style: str, images: str = "'none'", forms: str = "'none'") -> str:
    """No script, no frame, nothing from elsewhere; sources of styles, images and forms as given.

    See https://www.w3.org/TR/CSP3/.
    """
    return (
        f"default-src 'none'; style-src {style}; img-src {images}; form-action {forms}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
