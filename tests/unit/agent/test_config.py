"""agent.json of a pod that unseals: strict, and no input makes reading it fail but by a refusal."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.agent.config import parse_config
from sekisho.agent.fence import render_fence
from sekisho.errors import Reason, RefusedError

SEALED: dict[str, Any] = {
    "manifestDigest": f"sha256:{'a' * 64}", "model": "legal/reviewer", "version": 7, "class": "confidential+gdpr",
    "kms": "openbao", "keyId": "transit/legal", "keyVersion": "3",
}  # fmt: skip
HANDOVER: dict[str, Any] = {"ciphertext": "/sealed", "socket": "/run/sekisho/keys"}
RELEASE: dict[str, Any] = {
    "host": "10.96.0.50", "port": 443, "serverName": "sekisho-broker.sekisho-system.svc", "protocol": "broker",
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "namespace": "legal", "service": "review",
    "depot": {"host": "10.96.0.40", "port": 443, "serverName": "sekisho-depot.sekisho-system.svc"},
    "canaries": [], "release": RELEASE,
    "weights": {"mode": "sealed", "path": "/models", "sealed": SEALED},
    "engine": {"port": 8080, "healthPath": "/health"},
}  # fmt: skip


def read(config: Any) -> Any:
    return parse_config(json.dumps(config).encode(), host_ip="10.0.0.1")


def with_sealed(**changes: Any) -> dict[str, Any]:
    return CONFIG | {"weights": CONFIG["weights"] | {"sealed": SEALED | changes}}


def with_handover(handover: Any) -> dict[str, Any]:
    return CONFIG | {"weights": CONFIG["weights"] | {"handover": handover}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            CONFIG | {"weights": {"mode": "sealed", "path": "/m"}},
            "weights.mode is sealed, and weights.sealed is missing",
        ),
        (
            CONFIG | {"weights": CONFIG["weights"] | {"mode": "depot"}},
            "weights.mode is depot, and weights.sealed is there",
        ),
        (CONFIG | {"weights": CONFIG["weights"] | {"sealed": []}}, "weights.sealed is not an object"),
        (with_sealed(more=1), "weights.sealed has not exactly the fields manifestDigest, model"),
        (with_sealed(manifestDigest="sha256:AA"), "weights.sealed.manifestDigest is not sha256:"),
        (with_sealed(manifestDigest=7), "weights.sealed.manifestDigest is not sha256:"),
        (with_sealed(version="7"), "weights.sealed.version is not a whole number"),
        (with_sealed(version=True), "weights.sealed.version is not a whole number"),
        (with_sealed(version=0), "weights.sealed.version is not a whole number from 1"),
        (with_sealed(version=2**53), "weights.sealed.version is not a whole number from 1"),
        (with_sealed(model=""), "weights.sealed.model is not a printable text of 1 to 256"),
        (with_sealed(**{"class": None}), "weights.sealed.class is not a printable text"),
        (with_sealed(kms="x" * 65), "weights.sealed.kms is not a printable text of 1 to 64"),
        (with_sealed(keyId="a\nb"), "weights.sealed.keyId is not a printable text of 1 to 2048"),
        (with_sealed(keyVersion=3), "weights.sealed.keyVersion is not a printable text"),
        (with_handover("/sealed"), "weights.handover is not an object"),
        (with_handover({"ciphertext": "/sealed"}), "weights.handover.socket is not a printable text"),
        (with_handover(HANDOVER | {"ciphertext": "sealed"}), "weights.handover.ciphertext is not an absolute path"),
        (with_handover(HANDOVER | {"socket": "run/keys"}), "weights.handover.socket is not an absolute path"),
        (
            CONFIG | {"weights": {"mode": "depot", "path": "/models", "handover": HANDOVER}},
            "weights.mode is depot, and weights.handover is there; only sealed weights are handed over",
        ),
        (CONFIG | {"release": "10.96.0.50"}, "release is not an object"),
        (CONFIG | {"release": RELEASE | {"host": "broker"}}, "release.host is not an IP address"),
        (CONFIG | {"release": RELEASE | {"port": 0}}, "release.port is not a port"),
        (CONFIG | {"release": RELEASE | {"serverName": ""}}, "release.serverName is not a printable text"),
        (CONFIG | {"release": RELEASE | {"protocol": "trust-me"}}, "release.protocol is none of broker, unsafe-"),
        (CONFIG | {"release": RELEASE | {"protocol": ["broker"]}}, "release.protocol is none of broker, unsafe-"),
        (CONFIG | {"release": {**RELEASE, "protocol": None}}, "release.protocol is none of broker, unsafe-"),
        (CONFIG | {"attester": {"host": "node"}}, "attester.host is not an IP address"),
        (CONFIG | {"weights": CONFIG["weights"] | {"mode": "open"}}, "weights.mode is none of depot, mounted, sealed"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_by_its_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read(config)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert message in caught.value.message


def test_where_an_engine_decrypts_by_itself_is_read_and_absent_elsewhere() -> None:
    assert read(CONFIG).weights.handover is None
    handover = read(with_handover(HANDOVER)).weights.handover
    assert (handover.ciphertext, handover.socket) == ("/sealed", "/run/sekisho/keys")


def test_a_pod_without_a_release_of_keys_has_none() -> None:
    assert read({key: value for key, value in CONFIG.items() if key != "release"}).release is None
    assert read(CONFIG | {"release": None}).release is None


@pytest.mark.parametrize(
    ("config", "leased"),
    [
        (CONFIG, True),
        (CONFIG | {"release": None}, False),
        (CONFIG | {"release": RELEASE | {"protocol": "unsafe-development"}}, False),
        (CONFIG | {"weights": {"mode": "depot", "path": "/m"}}, False),
    ],
)
def test_a_lease_is_needed_where_a_broker_releases_the_key_of_sealed_weights(
    config: dict[str, Any], leased: bool
) -> None:
    assert read(config).leased is leased


def test_the_fence_opens_the_ways_to_keys_and_attester_and_to_nothing_beside_it() -> None:
    def out(config: dict[str, Any]) -> list[str]:
        rules = dict(render_fence(read(config), agent_port=8181).chains)["output"]
        return [rule for rule in rules if "daddr" in rule]

    assert out(CONFIG) == [
        "ip daddr 10.96.0.40 tcp dport { 443 } ct state new accept",
        "ip daddr 10.96.0.50 tcp dport { 443 } ct state new accept",
    ]
    attester = {"host": "10.96.0.60", "port": 443, "serverName": "sekisho-attester.sekisho-system.svc"}
    assert out(CONFIG | {"attester": attester})[2:] == ["ip daddr 10.96.0.60 tcp dport { 443 } ct state new accept"]
    assert out(CONFIG | {"release": None}) == ["ip daddr 10.96.0.40 tcp dport { 443 } ct state new accept"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def refuse(config: Any) -> Reason | None:
    try:
        read(config)
    except RefusedError as error:
        return error.reason
    return None


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(SEALED)), JSON)
def test_no_value_of_a_sealed_field_does_more_than_refuse(field: str, value: Any) -> None:
    assert refuse(with_sealed(**{field: value})) in {None, Reason.INVALID_SPEC}


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["weights", "release", "attester", "depot", "engine", "egress"]), JSON)
def test_no_value_of_a_field_does_more_than_refuse(field: str, value: Any) -> None:
    assert refuse(CONFIG | {field: value}) in {None, Reason.INVALID_SPEC}
