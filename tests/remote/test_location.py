"""Where a tier is: URLs and their options."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.errors import InputError
from kregistry.remote.location import Location


def test_a_remote_is_written_only_if_its_url_says_that_kernels_are_not_signed() -> None:
    assert Location.parse("s3://bucket/k").read_only
    assert Location.parse("s3://bucket/k?ro").read_only
    assert Location.parse("s3://bucket/k?unsigned&ro").read_only
    assert not Location.parse("s3://bucket/k?unsigned").read_only


def test_several_are_separated_by_commas_or_spaces() -> None:
    found = Location.parse_all("s3://team/k?ro, https://cdn/k  /srv/kernels?unsigned")
    assert [each.url for each in found] == ["s3://team/k", "https://cdn/k", "file:///srv/kernels"]
    assert Location.parse_all("") == ()


def test_a_directory_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location.parse("k").url == (tmp_path / "k").as_uri()


def test_passwords_are_not_in_the_name() -> None:
    location = Location.parse("https://user:secret@cdn.example/k")
    assert location.url == "https://cdn.example/k"
    assert "secret" in location.secret_url


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ftp://u:secret@x/y", "remote ftp://x/y: 'ftp' is not known"),
        ("s3:/b/k", "remote s3:/b/k: no such directory, and not a URL\nhint: did you mean s3://b/k?"),
        ("S3:b/k?unsigned", "hint: did you mean s3://b/k?"),
        ("https:/u:secret@x/k", "hint: did you mean https://x/k?"),
        ("file:/srv/k", "hint: did you mean file:///srv/k?"),
        (__file__, "a file, where a URL or a directory is expected"),
        ("s3://b/k?rw", "remote s3://b/k: unknown option 'rw'"),
        ("https://u:secret@b/k?x", "remote https://b/k: unknown option 'x'"),
    ],
)
def test_wrong_urls(text: str, found: str) -> None:
    with pytest.raises(InputError) as caught:
        Location.parse(text)
    assert found in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://[", "http://u:secret@[::1", "http://\uff03/k", "a" * 5000, "", "?", "?ro"])
def test_what_no_url_can_be_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Location.parse(text)
    assert "secret" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["/srv/my kernels", "/srv/a,b", "s3://b/my kernels", "https://u:secret@x/a b"])
def test_the_rest_of_a_path_is_no_further_remote(text: str) -> None:
    with pytest.raises(InputError, match="neither a URL nor an absolute path") as caught:
        Location.parse_all(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", ",", " ,  "])
def test_a_command_that_needs_a_remote_refuses_none(text: str) -> None:
    assert Location.parse_all(text) == ()
    with pytest.raises(InputError, match="no URL"):
        Location.parse_some(text)
