"""Every reason for which a site is refused, with its sentence."""

from typing import Any

import pytest

from sekisho.api import names
from sekisho.api.meta import LabelSelector
from sekisho.api.v1alpha1.inferenceservice import Toleration
from sekisho.classify.rules import EffectiveTrust
from sekisho.errors import Reason
from sekisho.placement.engine import Placement
from sekisho.placement.snapshot import NodeFacts, PodUsage, Taint
from tests.unit.placement.build import NOW, build_demand, build_node, build_proofs, build_site, decide, want_trust


def assert_refused(placement: Placement, reason: Reason, detail: str) -> None:
    (rejection,) = placement.rejected
    assert (rejection.reason, rejection.detail) == (reason, detail)
    assert placement.site is None
    assert placement.reason is reason
    assert placement.nearest == "tokyo"
    assert placement.terms == ()
    assert placement.because == (f"no site may and can run class restricted: 1 {reason}; nearest is tokyo: {detail}")


@pytest.mark.parametrize(
    ("changes", "site", "reason", "detail"),
    [
        ({}, {"tier": "ManagedApi", "nodes": None}, Reason.SITE_KIND_NOT_SERVED,
         "the site is a ManagedApi site without nodes of this cluster; no pod can be placed there"),
        ({}, {"tier": "OwnCloud"}, Reason.TIER_NOT_ALLOWED,
         "class restricted allows Closed, the site is OwnCloud"),
        ({"tiers": frozenset()}, {}, Reason.TIER_NOT_ALLOWED,
         "class restricted allows no tier, the site is Closed"),
        ({"jurisdictions": frozenset(("EU", "CH", "GB"))}, {}, Reason.JURISDICTION_NOT_ALLOWED,
         "class restricted allows CH, EU or GB, the site is under JP"),
        ({"jurisdictions": frozenset()}, {}, Reason.JURISDICTION_NOT_ALLOWED,
         "class restricted allows no jurisdiction, the site is under JP"),
    ],
)  # fmt: skip
def test_a_site_that_the_law_forbids_is_refused_by_the_rule_and_the_fact(
    changes: dict[str, Any], site: dict[str, Any], reason: Reason, detail: str
) -> None:
    placement = decide(build_demand(**changes), build_node(), sites={"tokyo": build_site(**site)})
    assert_refused(placement, reason, detail)


def test_a_site_that_the_service_does_not_ask_for_is_refused_before_any_other_rule() -> None:
    sites = {"osaka": build_site("osaka"), "tokyo": build_site(tier="OwnCloud")}
    placement = decide(build_demand(sites=("osaka",)), build_node(site="osaka"), sites=sites)
    assert placement.site == "osaka"
    assert [(r.site, r.reason, r.detail) for r in placement.rejected] == [
        ("tokyo", Reason.SITE_NOT_SELECTED, "the service asks for osaka")
    ]


def test_a_wished_site_that_does_not_exist_is_named() -> None:
    placement = decide(build_demand(sites=("kyoto",)), build_node())
    assert (placement.site, placement.nearest, placement.reason) == (None, "kyoto", Reason.NO_SITE)
    assert placement.because == (
        "no site may and can run class restricted: 1 NoSite and 1 SiteNotSelected; nearest is kyoto: "
        'no Site is named "kyoto"'
    )


def test_without_any_site_nothing_is_placed() -> None:
    placement = decide(build_demand(), build_node(), sites={})
    assert (placement.site, placement.nearest, placement.rejected) == (None, None, ())
    assert placement.reason is Reason.NO_SITE
    assert placement.because == "no site may and can run class restricted: there is no site"


WANTS = "restricted wants snp or tdx proven within 600 s"


@pytest.mark.parametrize(
    ("label", "detail"),
    [
        (None, f"{WANTS}; none of 1 node has, node a lacks snp or tdx"),
        ("", f"{WANTS}; none of 1 node has, node a lacks snp or tdx"),
        ("yes", f"{WANTS}; none of 1 node has, node a lacks snp or tdx"),
        ("-5", f"{WANTS}; none of 1 node has, node a lacks snp or tdx"),
        ("1.8e9", f"{WANTS}; none of 1 node has, node a lacks snp or tdx"),
        ("１８００００００００", f"{WANTS}; none of 1 node has, node a lacks snp or tdx"),
        ("1800000000000", f"{WANTS}; none of 1 node has, node a lacks snp or tdx"),
        ("1800000061", f"{WANTS}; none of 1 node has, node a lacks snp or tdx, its proof is dated 61 s in the future"),
    ],
)
def test_what_is_no_unix_second_or_lies_ahead_proves_nothing(label: str | None, detail: str) -> None:
    labels = {} if label is None else {names.trust_label("snp"): label}
    placement = decide(build_demand(trust=want_trust("snp", "tdx")), build_node(labels=labels))
    assert_refused(placement, Reason.TRUST_MISSING, detail)


@pytest.mark.parametrize("key", ["snp-attested-at", "sekisho.dev/snp-attested-at", "feature.node.kubernetes.io/snp"])
def test_a_label_that_a_node_can_give_itself_proves_nothing(key: str) -> None:
    placement = decide(build_demand(trust=want_trust("snp", "tdx")), build_node(labels={key: str(int(NOW))}))
    assert_refused(placement, Reason.TRUST_MISSING, f"{WANTS}; none of 1 node has, node a lacks snp or tdx")


def test_an_old_proof_is_told_with_its_age_and_the_node_of_the_newest() -> None:
    nodes = [
        build_node("tk-gpu-2", labels=build_proofs(snp=90_000)),
        build_node("tk-gpu-3", labels=build_proofs(tdx=1812)),
    ]
    placement = decide(build_demand(trust=want_trust("snp", "tdx")), *nodes)
    assert_refused(placement, Reason.TRUST_TOO_OLD, f"{WANTS}; newest proof is 1,812 s old (node tk-gpu-3)")


def test_a_proof_is_too_old_one_second_after_its_time() -> None:
    node = build_node(labels=build_proofs(snp=600))
    demand = build_demand(trust=want_trust("snp"))
    assert decide(demand, node).site == "tokyo"
    assert decide(demand, node, now_at=NOW + 0.5).reason is Reason.TRUST_TOO_OLD


def test_no_proof_counts_even_where_the_age_allowed_reaches_back_before_1970() -> None:
    demand = build_demand(trust=want_trust("snp", max_age_seconds=31536000))
    assert decide(demand, build_node(), now_at=1000.0).reason is Reason.TRUST_MISSING


def test_a_node_must_have_proven_every_device_beside_one_of_the_alternatives() -> None:
    nodes = [
        build_node("a", labels=build_proofs(nvidia_cc=10)),
        build_node("b", labels=build_proofs(snp=10)),
        build_node("c"),
    ]
    placement = decide(build_demand(trust=want_trust("snp", "tdx", devices=("nvidia-cc",))), *nodes)
    assert_refused(
        placement,
        Reason.TRUST_MISSING,
        "restricted wants snp or tdx and nvidia-cc proven within 600 s; none of 3 nodes has, node a lacks snp or tdx",
    )


def test_the_oldest_of_the_wanted_proofs_decides() -> None:
    node = build_node(labels=build_proofs(snp=10, tdx=90_000, nvidia_cc=700))
    placement = decide(build_demand(trust=want_trust("snp", "tdx", devices=("nvidia-cc",))), node)
    assert placement.rejected[0].detail.endswith("newest proof is 700 s old (node a)")


@pytest.mark.parametrize(
    "trust", [EffectiveTrust(frozenset(), frozenset(), 600), EffectiveTrust(None, frozenset(), 600),
              EffectiveTrust(frozenset(), frozenset(("nvidia-cc",)), 600)],
)  # fmt: skip
def test_a_rule_that_nothing_can_satisfy_is_refused_even_without_nodes(trust: EffectiveTrust) -> None:
    assert_refused(
        decide(build_demand(trust=trust)),
        Reason.TRUST_IMPOSSIBLE,
        "class restricted wants hardware trust, but no proof would do: its level and compartments name none in common",
    )


def test_a_site_without_nodes_is_told_so_even_where_trust_is_wanted() -> None:
    placement = decide(build_demand(trust=want_trust("snp")), build_node(site="osaka"))
    assert_refused(placement, Reason.NO_NODES, "none of the cluster's 1 node has site=tokyo")


def test_an_empty_selector_claims_no_node_rather_than_every_node() -> None:
    open_site = build_site().model_copy(update={"nodes": LabelSelector()})
    placement = decide(build_demand(), build_node(), sites={"tokyo": open_site})
    assert_refused(placement, Reason.NO_NODES, "the site's selector of nodes is empty")


TAINT = Taint("gpu", "yes", "NoSchedule")


@pytest.mark.parametrize(
    ("nodes", "changes", "reason", "detail"),
    [
        ([build_node("a", ready=False), build_node("b", schedulable=False), build_node("c", schedulable=False)], {},
         Reason.NODES_NOT_READY,
         "none of 3 nodes is ready and schedulable: 1 not ready, 2 cordoned; node b is cordoned"),
        ([build_node("a", ready=False, schedulable=False)], {}, Reason.NODES_NOT_READY,
         "none of 1 node is ready and schedulable: 1 not ready, 0 cordoned; node a is not ready"),
        ([build_node("a"), build_node("b", labels={"disk": "hdd", "zone": "x"})],
         {"node_selector": {"zone": "x", "disk": "ssd"}}, Reason.NODE_SELECTOR_MISMATCH,
         "nodeSelector wants disk=ssd and zone=x; none of 2 nodes has it, node b has disk=hdd"),
        ([build_node("a")], {"node_selector": {"disk": "ssd"}}, Reason.NODE_SELECTOR_MISMATCH,
         "nodeSelector wants disk=ssd; none of 1 node has it, node a has no label disk"),
        ([build_node("a", taints=(TAINT, Taint("old", "", "NoExecute"))), build_node("b", taints=(TAINT,))], {},
         Reason.TAINT_NOT_TOLERATED,
         "none of 2 nodes is free of taints that the service does not tolerate; node b has gpu=yes:NoSchedule"),
        ([build_node("a"), build_node("b")], {"gpus": 2}, Reason.ACCELERATOR_MISSING,
         "needs 2 GPUs; none of 2 nodes has any"),
        ([build_node("a")], {"gpu_memory_mib": 1}, Reason.ACCELERATOR_MISSING,
         "needs 1 GPU; none of 1 node has any"),
        ([build_node("a", gpus=1, gpu_memory_mib=24576), build_node("b", gpus=1, gpu_memory_mib=40960)],
         {"gpus": 1, "gpu_memory_mib": 81920}, Reason.GPU_MEMORY_SHORT,
         "needs 81920 MiB of GPU memory, a GPU of node b has 40960 MiB, the most of 2 nodes"),
        ([build_node("a", gpus=4, gpu_memory_mib=24576)], {"gpus": 2, "gpu_memory_mib": 81921}, Reason.GPU_MEMORY_SHORT,
         "needs 40961 MiB of GPU memory on each of 2 GPUs, a GPU of node a has 24576 MiB, the most of 1 node"),
        ([build_node("a", gpus=8), build_node("b", gpus=2)], {"gpus": 16}, Reason.GPU_SHORT,
         "needs 16 GPUs, 8 free on node a, the most of 2 nodes"),
        ([build_node("a", gpus=1, gpu_memory_mib=81920)], {"gpus": 1, "gpu_memory_mib": 40960, "replicas": 2},
         Reason.GPU_SHORT, "needs 1 GPU with 40960 MiB for each of 2 replicas, 1 fit; 1 free on node a"),
        ([build_node("a"), build_node("b")], {"cpu_millis": 5000, "replicas": 3}, Reason.CPU_SHORT,
         "needs 5000 millicores of CPU for each of 3 replicas, 2 fit; 8000 free on node a, the most of 2 nodes"),
        ([build_node("a")], {"memory_mib": 40000}, Reason.MEMORY_SHORT,
         "needs 40000 MiB of memory, 32768 free on node a"),
        ([build_node("a", pods=0)], {}, Reason.POD_SLOTS_SHORT, "needs 1 pod slot, 0 free on node a"),
        ([build_node("a", memory_mib=1, gpus=1), build_node("b")], {"gpus": 1}, Reason.MEMORY_SHORT,
         "needs 4096 MiB of memory, 1 free on node a"),
    ],
)  # fmt: skip
def test_nodes_that_will_not_do_are_told_with_numbers_and_the_nearest_miss(
    nodes: list[NodeFacts], changes: dict[str, Any], reason: Reason, detail: str
) -> None:
    assert_refused(decide(build_demand(**changes), *nodes), reason, detail)
    assert_refused(decide(build_demand(**changes), *reversed(nodes)), reason, detail)


@pytest.mark.parametrize(
    ("tenancy", "whose", "count"),
    [("Dedicated", "other services", "2 pods"), ("SharedByOwner", "services outside namespace legal", "1 pod"),
     ("Unheard-of", "other services", "2 pods")],
)  # fmt: skip
def test_a_node_with_pods_of_others_is_refused_by_what_it_runs(tenancy: str, whose: str, count: str) -> None:
    usage = (
        PodUsage("a", "legal", "other", 1, 1, 0),
        PodUsage("a", "payroll", "review", 1, 1, 0),
        PodUsage("a", "legal", "review", 1, 1, 0),
        PodUsage("a", "payroll", "", 1, 1, 0),
    )
    assert_refused(
        decide(build_demand(tenancy=tenancy), build_node(), usage=usage),
        Reason.TENANCY_CONFLICT,
        f"class restricted wants nodes without {whose} ({tenancy}); none of 1 node is, node a runs {count} of them",
    )


@pytest.mark.parametrize(("tenancy", "fits"), [("Dedicated", False), ("SharedByOwner", True), ("Shared", True)])
def test_services_of_the_same_namespace_share_a_node_unless_it_must_be_dedicated(tenancy: str, fits: bool) -> None:
    usage = (PodUsage("a", "legal", "other", 1, 1, 0),)
    assert (decide(build_demand(tenancy=tenancy), build_node(), usage=usage).site is not None) is fits


@pytest.mark.parametrize(
    ("toleration", "taint", "tolerated"),
    [
        (Toleration(operator="Exists"), TAINT, True),
        (Toleration(key="gpu", operator="Exists"), TAINT, True),
        (Toleration(key="gpu", value="yes"), TAINT, True),
        (Toleration(key="gpu", value="yes", effect="NoSchedule"), TAINT, True),
        (Toleration(key="gpu", value="no"), TAINT, False),
        (Toleration(key="gpu"), TAINT, False),
        (Toleration(key="gpu"), Taint("gpu", "", "NoSchedule"), True),
        (Toleration(key="other", operator="Exists"), TAINT, False),
        (Toleration(key="gpu", operator="Exists", effect="NoExecute"), TAINT, False),
        (Toleration(key="gpu", operator="Exists"), Taint("gpu", "yes", "NoExecute"), True),
        (
            Toleration(key="gpu", operator="Exists", effect="NoExecute", toleration_seconds=30),
            Taint("gpu", "yes", "NoExecute"),
            False,
        ),
        (Toleration(key="other"), Taint("gpu", "yes", "PreferNoSchedule"), True),
    ],
)
def test_a_taint_is_tolerated_as_in_kubernetes_and_only_for_good(
    toleration: Toleration, taint: Taint, tolerated: bool
) -> None:
    placement = decide(build_demand(tolerations=(toleration,)), build_node(taints=(taint,)))
    assert placement.reason is (Reason.PLACED if tolerated else Reason.TAINT_NOT_TOLERATED)


def test_the_law_is_told_before_trust_and_trust_before_hardware_and_hardware_before_room() -> None:
    changes: dict[str, Any] = {"trust": want_trust("snp"), "gpus": 1, "cpu_millis": 10**6}
    nodes = [build_node()]
    found = [decide(build_demand(**changes, tiers=frozenset()), *nodes).reason]
    for change in ({"trust": None}, {"gpus": 0}, {"cpu_millis": 1}):
        found.append(decide(build_demand(**changes), *nodes).reason)
        changes |= change
    found.append(decide(build_demand(**changes), *nodes).reason)
    assert found == [
        Reason.TIER_NOT_ALLOWED, Reason.TRUST_MISSING, Reason.ACCELERATOR_MISSING, Reason.CPU_SHORT, Reason.PLACED,
    ]  # fmt: skip


def test_the_nearest_site_is_the_one_that_came_furthest_then_the_first_by_name() -> None:
    sites = {name: build_site(name) for name in ("a", "b", "c")} | {"d": build_site("d", tier="OwnCloud")}
    nodes = [build_node(f"node-{name}", site=name, cpu_millis=1) for name in ("b", "c")]
    placement = decide(build_demand(), *nodes, sites=sites)
    assert placement.nearest == "b"
    assert [item.reason for item in placement.rejected] == [
        Reason.NO_NODES, Reason.CPU_SHORT, Reason.CPU_SHORT, Reason.TIER_NOT_ALLOWED,
    ]  # fmt: skip
    assert placement.because == (
        "no site may and can run class restricted: 2 CpuShort, 1 NoNodes and 1 TierNotAllowed; nearest is b: "
        "needs 1000 millicores of CPU, 1 free on node node-b"
    )


def test_sentences_are_cut_to_what_a_status_field_holds() -> None:
    labels = {f"{'k' * 60}-{index}": "v" * 63 for index in range(16)}
    placement = decide(build_demand(node_selector=labels), build_node())
    (rejection,) = placement.rejected
    assert len(rejection.detail) == len(placement.because) == 1024
    assert placement.because.endswith("…")
