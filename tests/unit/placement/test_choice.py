"""Which site is chosen, what is said of it, and what its nodes must satisfy."""

from typing import Any

import pytest

from sekisho.api import names
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.errors import Reason
from sekisho.placement.engine import Placement, check_node
from sekisho.placement.requirement import Requirement, is_met
from sekisho.placement.snapshot import NodeFacts, PodUsage, Taint, take_snapshot
from tests.unit.placement.build import NOW, build_demand, build_node, build_proofs, build_site, decide, want_trust

SNP, TDX, CC = (names.trust_label(tee) for tee in ("snp", "tdx", "nvidia-cc"))


def build_price(gpu: str, cpu: str = "0", currency: str = "USD") -> dict[str, str]:
    return {"gpuHour": gpu, "cpuHour": cpu, "currency": currency}


def decide_between(
    first: SiteSpec, second: SiteSpec, *nodes: NodeFacts, usage: tuple[PodUsage, ...] = (), **changes: Any
) -> Placement:
    demand = build_demand(gpus=1, **changes)
    known = nodes or (build_node("a", site="one", gpus=2), build_node("b", site="two", gpus=2))
    return decide(demand, *known, usage=usage, sites={"two": second, "one": first})


def test_the_cheaper_site_wins_and_the_other_is_told_both_prices() -> None:
    placement = decide_between(
        build_site("one", price=build_price("2.20", "0.1")), build_site("two", price=build_price("1.10", "0.05"))
    )
    assert placement.site == "two"
    assert [(r.site, r.reason, r.detail) for r in placement.rejected] == [
        ("one", Reason.OUTRANKED, "would do, but a replica costs 2.3 USD an hour here and 1.15 USD at two")
    ]
    assert (placement.nearest, placement.shortage, placement.reason) == (None, None, Reason.PLACED)


@pytest.mark.parametrize("price", [None, build_price("0")])
def test_a_site_without_a_price_is_free(price: dict[str, str] | None) -> None:
    placement = decide_between(build_site("one", price=build_price("0.000001")), build_site("two", price=price))
    assert placement.site == "two"
    assert placement.rejected[0].detail == "would do, but a replica costs 0.000001 USD an hour here and nothing at two"


def test_prices_in_different_currencies_are_not_compared() -> None:
    dear, cheap = build_price("900", currency="JPY"), build_price("5", currency="USD")
    placement = decide_between(build_site("one", price=dear), build_site("two", price=cheap))
    assert placement.site == "one"
    assert placement.rejected[0].detail == "would do, but one, which is as good, comes first by name"


def test_a_free_site_wins_over_sites_with_prices_in_different_currencies() -> None:
    sites = {
        "one": build_site("one", price=build_price("1", currency="JPY")),
        "two": build_site("two", price=build_price("1", currency="USD")),
        "zen": build_site("zen"),
    }
    nodes = [build_node(name, site=name, gpus=1) for name in sites]
    assert decide(build_demand(gpus=1), *nodes, sites=sites).site == "zen"


def test_at_equal_price_the_roomier_site_wins() -> None:
    nodes = (build_node("a", site="one", gpus=1), build_node("b", site="two", gpus=3))
    placement = decide_between(build_site("one"), build_site("two"), *nodes)
    assert placement.site == "two"
    assert placement.rejected[0].detail == "would do, but has room for 1 replica, two for 3"


def test_the_first_by_name_wins_where_all_else_is_equal() -> None:
    assert decide_between(build_site("one"), build_site("two")).site == "one"


def test_the_current_site_wins_over_a_cheaper_one() -> None:
    placement = decide_between(build_site("one"), build_site("two", price=build_price("9")), current_site="two")
    assert placement.site == "two"
    assert placement.rejected[0].detail == "would do, but the service runs at two already"


@pytest.mark.parametrize(
    ("facts", "reason", "detail"),
    [
        ({"gpus": 0}, Reason.ACCELERATOR_MISSING, "needs 1 GPU; none of 1 node has any"),
        ({"gpus": 1, "ready": False}, Reason.NODES_NOT_READY,
         "none of 1 node is ready and schedulable: 1 not ready, 0 cordoned; node b is not ready"),
        ({"gpus": 1, "taints": (Taint("x", "", "NoSchedule"),)}, Reason.TAINT_NOT_TOLERATED,
         "none of 1 node is free of taints that the service does not tolerate; node b has x:NoSchedule"),
        ({"gpus": 1, "cpu_millis": 10}, Reason.CPU_SHORT, "needs 1000 millicores of CPU, 10 free on node b"),
    ],
)  # fmt: skip
def test_a_running_service_stays_while_only_nodes_or_room_are_short(
    facts: dict[str, Any], reason: Reason, detail: str
) -> None:
    nodes = (build_node("a", site="one", gpus=2), build_node("b", site="two", **facts))
    placement = decide_between(build_site("one"), build_site("two"), *nodes, current_site="two")
    assert placement.site == "two"
    assert placement.because == (f"tier Closed, jurisdiction JP; stays where it runs in spite of {reason}: {detail}")
    assert placement.shortage is not None
    assert (placement.shortage.reason, placement.shortage.detail) == (reason, detail)
    assert [r.detail for r in placement.rejected] == ["would do, but the service runs at two already"]
    assert placement.terms == ((Requirement("site", "In", ("two",)),),)


@pytest.mark.parametrize(
    ("second", "node", "changes", "reason"),
    [
        ({"tier": "OwnCloud"}, {}, {}, Reason.TIER_NOT_ALLOWED),
        ({}, {}, {"sites": ("one",)}, Reason.SITE_NOT_SELECTED),
        ({}, {"labels": build_proofs(snp=601)}, {"trust": want_trust("snp")}, Reason.TRUST_TOO_OLD),
        ({}, {"site": "elsewhere"}, {}, Reason.NO_NODES),
        ({}, {"labels": {"disk": "hdd"}}, {"node_selector": {"disk": "ssd"}}, Reason.NODE_SELECTOR_MISMATCH),
        ({}, {"labels": {"disk": "hdd"}, "ready": False}, {"node_selector": {"disk": "ssd"}}, Reason.NODES_NOT_READY),
    ],
)  # fmt: skip
def test_a_running_service_leaves_where_law_trust_or_selection_forbid_the_site(
    second: dict[str, Any], node: dict[str, Any], changes: dict[str, Any], reason: Reason
) -> None:
    nodes = (
        build_node("a", site="one", gpus=2, labels={"disk": "ssd", **build_proofs(snp=1)}),
        build_node("b", **{"site": "two", "gpus": 2, **node}),
    )
    placement = decide_between(build_site("one"), build_site("two", **second), *nodes, current_site="two", **changes)
    assert placement.site == "one"
    assert [(r.site, r.reason) for r in placement.rejected] == [("two", reason)]


def test_a_service_whose_site_is_gone_moves() -> None:
    assert decide_between(build_site("one"), build_site("two"), current_site="gone").site == "one"


def test_the_own_pods_of_a_service_do_not_count_as_used() -> None:
    usage = (PodUsage("a", "legal", "review", 8000, 32768, 1),)
    assert decide(build_demand(gpus=1, tenancy="Dedicated"), build_node(gpus=1), usage=usage).site == "tokyo"


def test_a_service_scaled_to_zero_needs_no_room_but_nodes_that_may() -> None:
    full = (PodUsage("a", "x", "", 8000, 32768, 1),)
    assert decide(build_demand(replicas=0, gpus=1), build_node(gpus=1), usage=full).site == "tokyo"
    assert decide(build_demand(replicas=0, gpus=1), build_node()).reason is Reason.ACCELERATOR_MISSING
    small = build_node(gpus=1, gpu_memory_mib=1)
    assert decide(build_demand(replicas=0, gpus=1, gpu_memory_mib=2), small).reason is Reason.GPU_MEMORY_SHORT


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"gpus": 1, "gpu_memory_mib": 34816, "trust": want_trust("snp", "tdx", devices=("nvidia-cc",))},
         ("tier Closed, jurisdiction JP, snp verified 212 s ago, nvidia-cc verified 0 s ago, 81920 MiB of GPU memory "
          "free, 34816 needed")),
        ({"gpus": 1}, "tier Closed, jurisdiction JP, 1 GPU free, 1 needed"),
        ({}, "tier Closed, jurisdiction JP, 8000 millicores of CPU and 32768 MiB of memory free, 1000 and 4096 needed"),
    ],
)  # fmt: skip
def test_the_choice_is_told_by_its_facts(changes: dict[str, Any], because: str) -> None:
    labels = build_proofs(snp=212, tdx=3000, nvidia_cc=-30)
    node = build_node("b", labels=labels, gpus=1, gpu_memory_mib=81920)
    late = build_node("a", labels=build_proofs(snp=599, nvidia_cc=1), gpus=1, gpu_memory_mib=81920, memory_mib=4096)
    assert decide(build_demand(**changes), late, node).because == because


def test_a_proof_from_the_future_is_not_the_one_that_is_told() -> None:
    node = build_node(labels=build_proofs(snp=-5000, tdx=40))
    assert "tdx verified 40 s ago" in decide(build_demand(trust=want_trust("snp", "tdx")), node).because


def test_what_nodes_must_satisfy_names_selectors_proofs_and_gpus_but_no_node() -> None:
    expressions = [
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "zone", "operator": "NotIn", "values": ["c", "b"]},
    ]
    site = build_site(nodes={"matchLabels": {"site": "tokyo"}, "matchExpressions": expressions})
    node = build_node(
        labels={"disk": "ssd", names.GPU_MEMORY_LABEL: "81920", **build_proofs(snp=1, nvidia_cc=1)},
        gpus=2,
        gpu_memory_mib=81920,
    )
    placement = decide(
        build_demand(
            gpus=2,
            gpu_memory_mib=80001,
            node_selector={"disk": "ssd"},
            trust=want_trust("snp", "tdx", devices=("nvidia-cc",)),
        ),
        node,
        sites={"tokyo": site},
    )
    assert placement.requirements == (
        Requirement("disk", "In", ("ssd",)),
        Requirement(names.GPU_MEMORY_LABEL, "Gt", ("40000",)),
        Requirement("old", "DoesNotExist"),
        Requirement(CC, "Exists"),
        Requirement("site", "In", ("tokyo",)),
        Requirement("zone", "NotIn", ("b", "c")),
    )
    assert placement.alternatives == ((Requirement(SNP, "Exists"),), (Requirement(TDX, "Exists"),))
    assert placement.terms == tuple(
        tuple(sorted({*placement.requirements, *option})) for option in placement.alternatives
    )
    assert [is_met(term, node.labels) for term in placement.terms] == [True, False]


def test_a_single_proof_that_will_do_is_a_plain_requirement() -> None:
    placement = decide(build_demand(trust=want_trust("snp")), build_node(labels=build_proofs(snp=1)))
    assert placement.alternatives == ()
    assert placement.terms == ((Requirement("sekisho.node-restriction.kubernetes.io/snp-attested-at", "Exists"),
                                Requirement("site", "In", ("tokyo",))),)  # fmt: skip


@pytest.mark.parametrize(
    ("node", "changes", "reason", "detail"),
    [
        ("gone", {}, Reason.NO_NODES, "node gone is not one of site tokyo's nodes"),
        ("else", {"trust": want_trust("snp")}, Reason.NO_NODES, "node else is not one of site tokyo's nodes"),
        ("old", {"trust": want_trust("snp")}, Reason.TRUST_TOO_OLD,
         "restricted wants snp proven within 600 s; newest proof is 601 s old (node old)"),
        ("new", {"trust": want_trust("snp"), "node_selector": {"disk": "ssd"}}, Reason.NODE_SELECTOR_MISMATCH,
         "nodeSelector wants disk=ssd; none of 1 node has it, node new has no label disk"),
        ("new", {"current_site": "kyoto"}, Reason.NO_SITE, 'no Site is named "kyoto"'),
        ("new", {"current_site": None}, Reason.NO_SITE, 'no Site is named ""'),
        ("new", {"tiers": frozenset()}, Reason.TIER_NOT_ALLOWED,
         "class restricted allows no tier, the site is Closed"),
    ],
)  # fmt: skip
def test_a_pod_on_a_node_that_no_longer_will_do_is_found(
    node: str, changes: dict[str, Any], reason: Reason, detail: str
) -> None:
    nodes = [
        build_node("new", labels=build_proofs(snp=1)),
        build_node("old", labels=build_proofs(snp=601)),
        build_node("else", site="osaka", labels=build_proofs(snp=1)),
    ]
    snapshot = take_snapshot(nodes, [])
    demand = build_demand(**{"current_site": "tokyo", **changes})
    rejection = check_node(demand, {"tokyo": build_site()}, snapshot, node=node, now_at=NOW)
    assert rejection is not None
    assert (rejection.reason, rejection.detail) == (reason, detail)


def test_a_pod_on_a_node_with_a_fresh_proof_may_run_on() -> None:
    snapshot = take_snapshot([build_node("new", labels=build_proofs(snp=1))], [])
    demand = build_demand(trust=want_trust("snp"), current_site="tokyo")
    assert check_node(demand, {"tokyo": build_site()}, snapshot, node="new", now_at=NOW) is None
