"""What never leaves a process, however it comes back to it."""

import json
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest

from sinks import redaction
from sinks.notifier.channels.channel import Refused, Retry
from sinks.redaction import HIDDEN, hide, redact

SECRET = "c4nary/wïth+odd=ch'rs &more"
WORKFLOW = "https://flows.example.org:443/workflows/0123456789abcdef/run?v=1&sig=fedcba9876543210"


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_hidden", redaction._Hidden())
    yield


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        repr(SECRET)[1:-1],
        b64encode(SECRET.encode()).decode(),
        b64encode(f"tocsin:{SECRET}".encode()).decode(),
        b64encode(f"\0tocsin\0{SECRET}".encode()).decode(),
        b64encode(f"a:{SECRET}".encode()).decode(),
    ],
)
def test_a_secret_is_known_however_a_receiver_repeats_it(echo: str) -> None:
    hide(SECRET)
    said = redact(f"401: {echo} is not right")
    assert said.startswith("401: ")
    assert said.endswith(" is not right")
    assert HIDDEN in said
    # Of what stands in Base64 a letter at each end may hold two bits of it.
    assert len(said.replace(HIDDEN, "")) <= len("401:  is not right") + 16


@pytest.mark.parametrize("part", ["0123456789abcdef", "sig=fedcba9876543210", "fedcba9876543210"])
def test_the_parts_of_a_secret_address_are_secret_and_its_host_is_not(part: str) -> None:
    hide(WORKFLOW)
    assert "fedcba9876543210" not in redact(part)
    assert "0123456789abcdef" not in redact(part)
    assert redact("flows.example.org:443 is away") == "flows.example.org:443 is away"


def test_each_of_several_keys_is_hidden_alone() -> None:
    hide("whsec_old-key-of-ours whsec_new-key-of-ours")
    assert redact("signed with whsec_new-key-of-ours") == f"signed with {HIDDEN}"


@pytest.mark.parametrize("first", [0, 1])
def test_a_secret_within_another_leaves_no_rest(first: int) -> None:
    both = ["secret-part", "secret-part-and-more"]
    for value in (both[first], both[1 - first]):
        hide(value)
    assert redact("x secret-part-and-more y") == f"x {HIDDEN} y"


class Odd:
    def __repr__(self) -> str:
        return "Odd('hush-hush')"


def test_what_is_no_text_is_looked_at_as_text() -> None:
    hide("hush-hush")
    fields = {"a": Odd(), "b": b"hush-hush", "c": ValueError("hush-hush"), "d": [Odd()], "n": 1}
    said = redact(fields)
    assert "hush-hush" not in json.dumps(said)
    assert said["n"] == 1


def test_what_a_receiver_repeats_does_not_reach_the_delivery_log() -> None:
    hide("hush-hush")
    assert Retry("auth", "HTTP 401: hush-hush").detail == f"HTTP 401: {HIDDEN}"
    assert str(Refused("no hush-hush here")) == f"no {HIDDEN} here"


def test_of_tokens_that_pass_the_last_are_hidden_and_what_lasts_stays() -> None:
    hide("lasting-secret")
    for number in range(1000):
        hide(f"token-number-{number:04}", passing=True)
    assert redact("lasting-secret token-number-0999") == f"{HIDDEN} {HIDDEN}"
    assert redact("token-number-0981") == HIDDEN
    assert redact("token-number-0900") == "token-number-0900"
    assert len(redaction._hidden.looks) < 300
