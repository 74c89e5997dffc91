"""What is shown of a source's address: where it is, and nothing that opens it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgex_runtime.address import scrub, shown

SCHEMES = st.sampled_from(["rtsp://", "rtsps://", "http://", "https://", "acme://"])
# Not what also stands in the address itself, where its being shown would prove nothing.
CHARACTERS = st.characters(blacklist_categories=("Cs", "Cc"))
SECRETS = st.text(CHARACTERS, min_size=1, max_size=12).map(lambda text: f"§{text}§")
KEYS = st.sampled_from(["pwd", "password", "loginuse", "token", "api_key", "X-Amz-Signature", "p%77d", "SessionID"])


@settings(derandomize=True, max_examples=300, deadline=None)
@given(SCHEMES, SECRETS, SECRETS)
def test_neither_user_nor_password_is_shown_whatever_characters_they_hold(
    scheme: str, user: str, password: str
) -> None:
    text = shown(f"{scheme}{user}:{password}@10.0.0.7:554/stream?channel=1#timeout=5s")
    assert text == f"{scheme}***@10.0.0.7:554/stream?channel=1#timeout=5s"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(SCHEMES, KEYS, SECRETS.filter(lambda text: not set(text) & set("&#;@=")))
def test_no_secret_looking_value_of_the_query_is_shown(scheme: str, key: str, secret: str) -> None:
    assert shown(f"{scheme}camera/video?{key}={secret}&size=2") == f"{scheme}camera/video?{key}=***&size=2"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(SECRETS, SECRETS)
def test_of_a_pipeline_only_its_first_element_is_shown(user: str, password: str) -> None:
    uri = f"gst:rtspsrc location=rtsp://{user}:{password}@camera/1 user-pw={password} ! decodebin ! {password}"
    assert shown(uri) == "gst:rtspsrc …"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_whatever_is_typed_can_be_shown_and_showing_it_twice_changes_nothing(uri: str) -> None:
    once = shown(uri)
    assert shown(once) == once
    assert len(once) <= len(uri) + 3 * (1 + uri.count("="))


@pytest.mark.parametrize(
    "uri", ["0", "/dev/video0?size=640x480", "photos/me@home.jpg", "'*.jpg'", "test://shapes?drop=5%&freeze=3s", ""]
)
def test_what_holds_no_secret_is_shown_as_it_is(uri: str) -> None:
    assert shown(uri) == uri


def test_an_address_without_its_scheme_is_still_hidden() -> None:
    assert shown("admin:s3cret@10.0.0.7/1") == "***@10.0.0.7/1"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(SECRETS.filter(lambda text: not any(character.isspace() for character in text)))
def test_another_programs_message_loses_its_addresses_secrets(secret: str) -> None:
    message = f"Could not open location=rtsp://admin:{secret}@camera/1 for reading"
    assert secret not in scrub(message)
    assert scrub("no element here") == "no element here"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(SECRETS, SECRETS)
def test_of_a_webhook_only_the_host_is_shown(password: str, path: str) -> None:
    text = shown(f"webhook+https://me:{password}@hooks.example:8443/{path}?code={path}#secret-file=/x")
    assert text in ("webhook+https://hooks.example:8443/…", "webhook+https://…")


@settings(derandomize=True, max_examples=200, deadline=None)
@given(SECRETS)
def test_a_brokers_password_is_not_shown_whatever_characters_it_holds(password: str) -> None:
    assert shown(f"mqtts://me:{password}@broker/hall") == "mqtts://***@broker/hall"
