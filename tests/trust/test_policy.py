"""Policies: what they say, and every problem with file, line and column."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml
from signing import policy_file, policy_text, signing_key

from kregistry.errors import InputError, ManifestError
from kregistry.trust.policy import Policy, matches
from kregistry.trust.policy_format import policy_schema

RULES = """valid_from: 2026-12-01
valid_until: "2027-12-01T12:00:00Z"
revoked: false
targets: [h100, sm_100f]
deep_gemm: ["0.1.4*"]
remotes: ["s3://team/*"]"""


def test_a_policy_with_all_rules(tmp_path: Path) -> None:
    one, other = Policy.read(policy_file(tmp_path, "a", "b", a=RULES)).keys
    assert (one.name, one.public, one.revoked) == ("a", signing_key("a").public, False)
    assert (one.valid_from, one.valid_until) == (1796083200.0, 1827662400.0)
    assert one.architectures == {90, 100}
    assert (one.deep_gemm, one.remotes) == (("0.1.4*",), ("s3://team/*",))
    assert (other.architectures, other.deep_gemm, other.valid_until) == (None, None, float("inf"))


def test_the_schema_accepts_what_the_reader_accepts() -> None:
    jsonschema.Draft7Validator.check_schema(policy_schema())
    text = policy_text("a", "b", a=RULES.replace("2026-12-01", '"2026-12-01"'))
    jsonschema.validate(yaml.safe_load(text), policy_schema())
    content = json.loads(json.dumps(yaml.safe_load(policy_text("a"))))
    del content["keys"]["a"]["id"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, policy_schema())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("version: 1", "version: 2"), ":1:10: version: expected 1, got 2\n  hint: update kregistry"),
        (("version: 1\n", ""), "the key 'version' is missing"),
        (("    id:", "    idd:"), ": keys.a.idd: unknown key\n  hint: did you mean 'id'?"),
        (("    id: ", "    id: 0"), ":4:9: keys.a.id: the id of this key is "),
        (("ed25519:", "rsa:"), ":5:10: keys.a.key: expected ed25519:BASE64"),
        (("revoked: false", "revoked: maybe"), ":8:14: keys.a.revoked: expected true or false, got 'maybe'"),
        (("2026-12-01", "tomorrow"), ":6:17: keys.a.valid_from: expected a day, got 'tomorrow'"),
        (("2026-12-01", "7"), ":6:17: keys.a.valid_from: expected a day, got 7"),
        (("[h100,", "[h10,"), ":9:15: keys.a.targets[0]: unknown target 'h10'\n  hint: did you mean 'h100'?"),
        (('["0.1.4*"]', "[]"), ":10:16: keys.a.deep_gemm: an empty list takes nothing"),
        (('["0.1.4*"]', "[0.1]"), ":10:17: keys.a.deep_gemm[0]: expected a string, got 0.1\n  hint: quote it"),
        (("version: 1", "version: ["), "not valid YAML"),
        (("  a:", "  - a:"), "expected a mapping"),
    ],
)
def test_problems_have_a_place(tmp_path: Path, change: tuple[str, str], found: str) -> None:
    path = tmp_path / "trust.yaml"
    text = policy_text("a", a=RULES)
    assert change[0] in text
    path.write_text(text.replace(change[0], change[1], 1))
    with pytest.raises(ManifestError) as caught:
        Policy.read(path)
    assert found in str(caught.value) and str(path) in str(caught.value)


def test_a_key_under_two_names_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "trust.yaml"
    path.write_text(policy_text("a") + policy_text("a").split("keys:\n")[1].replace("  a:", "  b:"))
    with pytest.raises(ManifestError, match=r":8:10: keys\.b\.key: the same key as 'a'"):
        Policy.read(path)


def test_a_policy_without_keys_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trust.yaml"
    path.write_text("version: 1\nkeys: {}\n")
    with pytest.raises(ManifestError, match="no key: nothing would be taken"):
        Policy.read(path)


def test_a_policy_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    path = policy_file(tmp_path, "a")
    path.chmod(0o666)
    with pytest.raises(InputError, match="everybody can write this policy"):
        Policy.read(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_policy_of_another_user_is_refused(tmp_path: Path) -> None:
    path = policy_file(tmp_path, "a")
    os.chown(path, 12345, 12345)
    with pytest.raises(InputError, match="belongs to another user"):
        Policy.read(path)


def test_patterns() -> None:
    assert matches("s3://team/kernels", ("s3://team/*",)) and matches("x", None)
    assert not matches("s3://teams/kernels", ("s3://team/*",)) and not matches("", ("?*",))
