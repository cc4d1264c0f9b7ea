"""Addresses of clusters never overlap."""

import ipaddress
import itertools

import pytest

from e2e.cluster.addressing import MAX_NODES, NUMBERS, Addressing


@pytest.mark.parametrize("number", [0, 16, -1])
def test_a_number_without_networks_of_its_own_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"cluster number {number} is not between 1 and 15"):
        Addressing(number)


def test_no_two_networks_of_any_clusters_overlap() -> None:
    clusters = [Addressing(number) for number in NUMBERS]
    texts = [text for one in clusters for text in (one.lan_cidr, one.service_cidr, one.pods_cidr)]
    networks = [ipaddress.IPv4Network(text) for text in texts]
    assert not [pair for pair in itertools.combinations(networks, 2) if pair[0].overlaps(pair[1])]


def test_everything_of_a_cluster_lies_in_its_networks() -> None:
    one = Addressing(4)
    lan, pods = ipaddress.IPv4Network(one.lan_cidr), ipaddress.IPv4Network(one.pods_cidr)
    services = ipaddress.IPv4Network(one.service_cidr)
    nodes = [ipaddress.IPv4Address(one.node_address(index)) for index in range(1, MAX_NODES + 1)]
    assert all(address in lan for address in nodes)
    assert len(set(nodes)) == MAX_NODES
    assert ipaddress.IPv4Address(one.control_plane) in lan
    assert ipaddress.IPv4Address(one.dns_service) in services
    simulated = ipaddress.IPv4Network(one.simulated_pods_cidr)
    for index in range(1, MAX_NODES + 1):
        own = ipaddress.IPv4Network(one.node_pods_cidr(index))
        assert own.subnet_of(pods)
        assert not own.overlaps(simulated)
