"""The NetworkPolicy of a service."""

from dataclasses import replace

from sekisho.api.v1alpha1.inferenceservice import EgressRule
from sekisho.render.network import render_network_policy
from tests.unit.plan.worlds import SETTINGS
from tests.unit.render.blueprints import RELEASED, SEALED, build_blueprint

SYSTEM = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "sekisho-system"}}}


def test_nothing_leaves_but_to_the_depot_and_no_name_is_looked_up() -> None:
    spec = render_network_policy(build_blueprint())["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["podSelector"] == {"matchLabels": {"sekisho.dev/service": "review"}}
    (rule,) = spec["egress"]
    (peer,) = rule["to"]
    assert peer["namespaceSelector"] == SYSTEM["namespaceSelector"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "depot"
    assert rule["ports"] == [{"protocol": "TCP", "port": 8443}]


def test_the_garbage_collector_takes_the_policy_after_what_it_owns() -> None:
    assert render_network_policy(build_blueprint())["metadata"]["finalizers"] == ["foregroundDeletion"]


def test_only_a_pod_that_unseals_reaches_the_release_of_keys() -> None:
    for plain in (build_blueprint(settings=RELEASED), build_blueprint(sealed=SEALED)):
        assert len(render_network_policy(plain)["spec"]["egress"]) == 1
    spec = render_network_policy(build_blueprint(sealed=SEALED, settings=RELEASED))["spec"]
    (peer,) = spec["egress"][1]["to"]
    assert peer["namespaceSelector"] == SYSTEM["namespaceSelector"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "unsafe-release"
    assert spec["egress"][1]["ports"] == [{"protocol": "TCP", "port": 8443}]


def test_only_a_pod_that_unseals_reaches_the_attester_of_its_node() -> None:
    with_attesters = replace(RELEASED, attester_host="10.96.0.60")
    assert len(render_network_policy(build_blueprint(settings=with_attesters))["spec"]["egress"]) == 1
    spec = render_network_policy(build_blueprint(sealed=SEALED, settings=with_attesters))["spec"]
    (peer,) = spec["egress"][2]["to"]
    assert peer["namespaceSelector"] == SYSTEM["namespaceSelector"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "attester"
    assert spec["egress"][2]["ports"] == [{"protocol": "TCP", "port": 8443}]


def test_only_the_gateway_comes_in_where_nobody_scrapes() -> None:
    (rule,) = render_network_policy(build_blueprint())["spec"]["ingress"]
    assert rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]


def test_scrapers_come_in_on_the_engines_port_only() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    policy = render_network_policy(build_blueprint(settings=replace(SETTINGS, scrapers=(peer,))))
    assert policy["spec"]["ingress"][1] == {"from": [peer], "ports": [{"protocol": "TCP", "port": 8080}]}


def test_declared_destinations_are_opened_by_range_and_port() -> None:
    policy = render_network_policy(build_blueprint(egress=(EgressRule(cidr="198.51.100.0/24", ports=(443, 80)),)))
    assert policy["spec"]["egress"][1] == {
        "to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}],
        "ports": [{"protocol": "TCP", "port": 80}, {"protocol": "TCP", "port": 443}],
    }


def test_the_policy_does_not_depend_on_the_site() -> None:
    assert render_network_policy(build_blueprint(site="")) == render_network_policy(build_blueprint())
