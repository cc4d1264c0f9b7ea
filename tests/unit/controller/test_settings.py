"""Settings come from the environment; what is wrong is named without its value."""

import pytest

from sekisho.api.names import UNSAFE_RELEASE_SERVICE
from sekisho.controller.settings import Settings
from sekisho.errors import Reason, RefusedError

ENV = {"SEKISHO_AGENT_IMAGE": "agent:1"}


def test_without_an_agent_image_the_process_does_not_start() -> None:
    with pytest.raises(RefusedError, match="SEKISHO_AGENT_IMAGE: Field required") as caught:
        Settings.read({})
    assert caught.value.reason == Reason.INVALID_SPEC


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"), ("WORKERS", "many"), ("QPS", "-1"), ("FENCE", "perhaps"), ("IMAGE_PULL_POLICY", "Sometimes"),
        ("CANARIES", '[{"host":"x","port":0}]'), ("CANARIES", '[{"host":"x","protocols":["sctp"]}]'),
        ("PROOF_INTERVAL_SECONDS", "0"), ("LOG_LEVEL", "LOUD"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_by_the_variables_name(name: str, value: str) -> None:
    with pytest.raises(RefusedError, match=f"SEKISHO_{name}"):
        Settings.read({**ENV, f"SEKISHO_{name}": value})


def test_json_that_is_none_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"SEKISHO_CANARIES|SEKISHO_\* is not JSON"):
        Settings.read({**ENV, "SEKISHO_CANARIES": "[{"})


def test_the_charts_spelling_is_read() -> None:
    read = Settings.read({
        **ENV, "SEKISHO_FENCE": "false", "SEKISHO_IMAGE_PULL_SECRETS": "a, b", "SEKISHO_SCRAPERS": "[]",
        "SEKISHO_CANARIES": '[{"name":"outside","host":"203.0.113.10"}]', "SEKISHO_NAMESPACE": "system",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443",
    })  # fmt: skip
    assert (read.fence, read.image_pull_secrets, read.namespace) == (False, ("a", "b"), "system")
    rendered = read.render_settings(depot_host="10.0.0.9", canary_host="10.1.0.3", ca_pem="pem")
    assert rendered.gateway_url == "https://sekisho-gateway.system.svc/v1"
    canaries = {c.name: (c.host, c.port, c.protocols) for c in rendered.canaries}
    assert canaries == {
        "api-server": ("10.0.0.1", 6443, ("tcp", "icmp")),
        "node": ("$HOST_IP", 10250, ("tcp", "icmp")),
        "metadata": ("169.254.169.254", 80, ("tcp", "icmp")),
        "depot-canary": ("10.1.0.3", 9999, ("tcp", "udp", "icmp")),
        "outside": ("203.0.113.10", 80, ("tcp", "udp", "icmp")),
    }


def test_what_is_not_known_yet_is_not_tried() -> None:
    rendered = Settings.read(ENV).render_settings(depot_host="", canary_host="", ca_pem="")
    assert [c.name for c in rendered.canaries] == ["node", "metadata"]


@pytest.mark.parametrize(
    ("given", "service", "protocol"),
    [
        ({}, "", None),
        ({"SEKISHO_UNSAFE_DEVELOPMENT_RELEASE": "true"}, UNSAFE_RELEASE_SERVICE, "unsafe-development"),
        ({"SEKISHO_BROKER": "true"}, "sekisho-broker", "broker"),
        ({"SEKISHO_BROKER": "true", "SEKISHO_UNSAFE_DEVELOPMENT_RELEASE": "true"}, "sekisho-broker", "broker"),
    ],
)
def test_a_broker_goes_before_the_development_release(
    given: dict[str, str], service: str, protocol: str | None
) -> None:
    read = Settings.read({**ENV, **given})
    assert read.release_service == service
    rendered = read.render_settings(
        depot_host="", canary_host="", ca_pem="", release_host="10.96.0.50" if service else "",
        attester_host="10.96.0.60",
    )  # fmt: skip
    assert (rendered.release.service if rendered.release else "") == service
    assert (rendered.release.protocol if rendered.release else None) == protocol
    assert rendered.attester_host == "10.96.0.60"


def test_a_canary_behind_a_service_is_tried_by_what_a_service_answers() -> None:
    read = Settings.read({**ENV, "SEKISHO_DEPOT_PER_NODE": "true"})
    rendered = read.render_settings(depot_host="10.0.0.9", canary_host="10.0.0.10", ca_pem="pem")
    (canary,) = [item for item in rendered.canaries if item.name == "depot-canary"]
    assert (canary.host, canary.port, canary.protocols) == ("10.0.0.10", 9999, ("tcp", "udp"))
