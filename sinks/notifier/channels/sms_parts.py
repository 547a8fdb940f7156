"""How much of a text goes into text messages, by GSM 03.38: three parts, joined on arrival."""

GSM_ROOM = 3 * 153
"""Septets of three parts, if all characters are of the alphabet; some take two."""
UNICODE_ROOM = 3 * 67
"""UTF-16 units of three parts, if one character is not."""

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€\f")
_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "-", "—": "-",
     "…": "...", "\u00a0": " ", "\u202f": " ", "→": "->", "·": "-"}
)  # fmt: skip
"""Typography that would make a message of three parts one of seven."""


def fitting(text: str, end: str = "") -> str:
    """`text` and then `end`, which is whole, in three parts at most."""
    text = text.translate(_PLAIN)
    if _fits(text + end):
        return text + end
    for length in range(len(text) - 1, -1, -1):
        cut = text[:length]
        dots = "..." if is_gsm(cut + end) else "…"
        if _fits(cut + dots + end):
            return cut + dots + end
    return end


def is_gsm(text: str) -> bool:
    """Whether all characters are of GSM's alphabet."""
    return all(char in _BASIC or char in _EXTENDED for char in text)


def _fits(text: str) -> bool:
    if is_gsm(text):
        return len(text) + sum(char in _EXTENDED for char in text) <= GSM_ROOM
    return len(text.encode("utf-16-le")) // 2 <= UNICODE_ROOM
