"""The rules that count packets and what is read from them."""

import json

import pytest

from e2e.cluster.counters import parse_counts, render_table


def test_anything_but_an_address_never_reaches_the_rules() -> None:
    with pytest.raises(ValueError, match="Only decimal digits permitted"):
        render_table("t", ["1.2.3.4 } ; flush ruleset"], "prerouting")


def test_the_rules_count_every_protocol_before_any_policy() -> None:
    table = render_table("t", ["10.0.0.1", "10.0.0.2"], "prerouting")
    assert "type filter hook prerouting priority -300" in table
    assert "ip daddr { 10.0.0.1, 10.0.0.2 } update @seen { ip saddr . ip protocol counter }" in table
    assert "type filter hook input priority 300" in render_table("t", ["10.0.0.1"], "input")


def test_counts_are_read_by_source_and_protocol() -> None:
    element = {"elem": {"val": {"concat": ["10.0.0.9", "icmp"]}, "counter": {"packets": 3, "bytes": 252}}}
    other = {"elem": {"val": {"concat": ["10.0.0.9", 99]}, "counter": {"packets": 1, "bytes": 20}}}
    listing = json.dumps({"nftables": [{"metainfo": {}}, {"set": {"name": "seen", "elem": [element, other]}}]})
    assert parse_counts(listing) == {("10.0.0.9", "icmp"): 3, ("10.0.0.9", "99"): 1}


def test_nothing_seen_is_an_empty_count() -> None:
    assert parse_counts(json.dumps({"nftables": [{"metainfo": {}}, {"set": {"name": "seen"}}]})) == {}
