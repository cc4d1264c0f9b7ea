"""Settings and the mounted collateral: what is refused by name, and what a change does."""

import json
import os
from pathlib import Path

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.trust.collateral import CollateralFolder
from sekisho.trust.nodes import TrustedNode, read_node
from sekisho.trust.settings import TrustSettings, read_settings
from tests.simulators.tpm.simulated import Maker
from tests.unit.trust.house import pem_of

ROOT = Maker().root


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "SEKISHO_EVIDENCE_POLICY is missing"),
        ({"SEKISHO_VALID_SECONDS": "59"}, "SEKISHO_VALID_SECONDS is not a whole number from 60 to 604800"),
        ({"SEKISHO_INTERVAL_SECONDS": "soon"}, "SEKISHO_INTERVAL_SECONDS is not a whole number from 10 to 86400"),
        ({"SEKISHO_VALID_SECONDS": "599"}, "a node must have two tries before its attestation ends"),
        ({"SEKISHO_HTTPS_PORT": "0"}, "SEKISHO_HTTPS_PORT is not a whole number from 1 to 65535"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environ: dict[str, str], told: str) -> None:
    policy = {"SEKISHO_EVIDENCE_POLICY": "nodes"} if environ else {}
    with pytest.raises(RefusedError) as raised:
        read_settings(policy | environ)
    assert raised.value.reason is Reason.INVALID_SPEC
    assert told in raised.value.message


def test_settings_are_read() -> None:
    read = read_settings({"SEKISHO_EVIDENCE_POLICY": "nodes", "SEKISHO_VALID_SECONDS": "120",
                          "SEKISHO_INTERVAL_SECONDS": "10", "SEKISHO_LEADER_ELECTION": "false"})  # fmt: skip
    assert read == TrustSettings("nodes", valid_seconds=120, interval_seconds=10, leader_election=False)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    os.utime(folder / name, ns=(len(list(folder.iterdir())), hash(text) % 10**9))


def test_an_empty_folder_trusts_nobody(tmp_path: Path) -> None:
    folder = CollateralFolder(tmp_path)
    folder.load()
    assert folder.makers.roots == ()


def test_what_is_mounted_is_read_and_read_again_when_it_changes(tmp_path: Path) -> None:
    write(tmp_path, "tpm-roots.pem", pem_of(ROOT))
    folder = CollateralFolder(tmp_path)
    assert folder.load() is True
    assert folder.load() is False
    assert folder.makers.roots == (ROOT,)
    write(tmp_path, "tpm-intermediates.pem", pem_of(ROOT) * 2)
    write(tmp_path, "endorsement-keys.json", json.dumps({"n1": ["ab" * 32], "*": []}))
    assert folder.load() is True
    assert folder.makers.intermediates == (ROOT,) * 2
    assert folder.makers.allowed == {"n1": frozenset({"ab" * 32}), "*": frozenset()}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("tpm-roots.pem", "nothing", "it is no PEM of certificates"),
        ("tpm-crls.pem", "nothing", "it is no PEM of revocation lists"),
        ("endorsement-keys.json", "{", "it is not JSON"),
        ("endorsement-keys.json", "[" * 100_000, "it is not JSON"),
        ("endorsement-keys.json", "[]", "it is no object of lists, by node"),
        ("endorsement-keys.json", '{"n1": "x"}', "it is no object of lists, by node"),
        ("endorsement-keys.json", '{"n1": ["AB"]}', "a key is not named by 64 hexadecimal digits"),
    ],
    ids=["roots", "lists", "no JSON", "too deep", "a list", "a text", "a key"],
)
def test_a_file_that_cannot_be_read_is_named_and_replaces_nothing(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    write(tmp_path, "tpm-roots.pem", pem_of(ROOT))
    folder = CollateralFolder(tmp_path)
    folder.load()
    write(tmp_path, name, text)
    with pytest.raises(RefusedError) as raised:
        folder.load()
    assert raised.value.reason is Reason.COLLATERAL_INVALID
    assert f"{name} cannot be used: {told}" in raised.value.message
    assert folder.makers.roots == (ROOT,)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.trust.collateral.MAX_FILE_BYTES", 10)
    write(tmp_path, "tpm-roots.pem", pem_of(ROOT))
    with pytest.raises(RefusedError, match="it is longer than 10 bytes"):
        CollateralFolder(tmp_path).load()


def test_a_node_says_nothing_that_cannot_be_read() -> None:
    prefix = "sekisho.node-restriction.kubernetes.io/"
    said = {f"{prefix}expires-at": "tomorrow", f"{prefix}attested": ",tpm,", f"{prefix}ak-name": "000B"}
    raw = {"metadata": {"name": "n", "uid": "u", "annotations": said}}
    assert read_node(raw) == TrustedNode("n", "u", attested=("tpm",), expires_at=0.0)
    assert read_node({}) == TrustedNode("", "")
