import numpy as np
import pytest

from sekisho.api import names
from sekisho.placement.columns import MAX_CACHED
from sekisho.placement.requirement import Requirement
from sekisho.placement.snapshot import CPU_MILLIS, GPUS, MEMORY_MIB, NEVER, PODS, PodUsage, Taint, take_snapshot
from tests.unit.placement.build import NOW, build_node

NODES = [build_node("b", gpus=2, labels={"zone": "x"}), build_node("a", labels={"zone": "y"}), build_node("c")]
USAGE = [
    PodUsage("a", "legal", "review", 1000, 2000, 0),
    PodUsage("b", "legal", "review", 1, 2, 1),
    PodUsage("b", "legal", "review", 10, 20, 1),
    PodUsage("b", "legal", "chat", 100, 200, 0),
    PodUsage("b", "payroll", "review", 1000, 2000, 0),
    PodUsage("c", "kube-system", "", 9000, 0, 0),
    PodUsage("gone", "legal", "review", 1, 1, 1),
]


def test_two_nodes_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="two nodes have the same name"):
        take_snapshot([build_node("a"), build_node("a")], [])


def test_what_is_free_is_what_pods_leave_even_below_nothing() -> None:
    snapshot = take_snapshot(NODES, USAGE)
    assert [node.name for node in snapshot.nodes] == ["a", "b", "c"]
    assert snapshot.free[CPU_MILLIS].tolist() == [7000, 6889, -1000]
    assert snapshot.free[MEMORY_MIB].tolist() == [30768, 30546, 32768]
    assert snapshot.free[GPUS].tolist() == [0, 0, 0]
    assert snapshot.free[PODS].tolist() == [109, 106, 109]


def test_leaving_a_service_out_frees_what_its_pods_use_once() -> None:
    snapshot = take_snapshot(NODES, USAGE)
    before = snapshot.free.copy()
    left_out = snapshot.without("legal", "review")
    assert left_out.free[CPU_MILLIS].tolist() == [8000, 6900, -1000]
    assert left_out.free[GPUS].tolist() == [0, 2, 0]
    assert left_out.without("legal", "review") is left_out
    assert left_out.without("payroll", "review").free[CPU_MILLIS].tolist() == [8000, 7900, -1000]
    assert snapshot.without("nobody", "none") is snapshot
    np.testing.assert_array_equal(snapshot.free, before)


def test_pods_of_strangers_are_counted_by_service_or_by_namespace() -> None:
    snapshot = take_snapshot(NODES, USAGE)
    assert snapshot.strangers("legal", "review").tolist() == [0, 2, 0]
    assert snapshot.strangers("legal", None).tolist() == [0, 1, 0]
    assert snapshot.strangers("nobody", None).tolist() == [1, 4, 0]
    assert snapshot.strangers("nobody", "none").tolist() == [1, 4, 0]
    assert snapshot.without("legal", "review").strangers("legal", "review").tolist() == [0, 2, 0]


def test_a_snapshot_of_the_same_nodes_uses_the_columns_again_and_one_of_others_does_not() -> None:
    first = take_snapshot(NODES, USAGE)
    rows = first.rows_of((Requirement("zone", "Exists"),))
    second = take_snapshot(list(reversed(NODES)), [], previous=first)
    assert second.rows_of((Requirement("zone", "Exists"),)) is rows
    assert second.free[CPU_MILLIS].tolist() == [8000, 8000, 8000]
    changed = [*NODES[:2], build_node("c", labels={"zone": "z"})]
    assert take_snapshot(changed, [], previous=first).rows_of((Requirement("zone", "Exists"),)).tolist() == [0, 1, 2]


def test_a_mask_agrees_with_every_node_alone() -> None:
    snapshot = take_snapshot(NODES, [])
    for requirement in (Requirement("zone", "In", ("x",)), Requirement("zone", "NotIn", ("x",)),
                        Requirement("zone", "DoesNotExist"), Requirement("absent", "NotIn", ("x",))):  # fmt: skip
        expected = [requirement.is_met_by(node.labels.get(requirement.key)) for node in snapshot.nodes]
        assert snapshot.mask_of(requirement).tolist() == expected


def test_a_full_cache_starts_anew_and_answers_stay_the_same() -> None:
    snapshot = take_snapshot(NODES, [])
    for number in range(MAX_CACHED + 10):
        assert snapshot.rows_of((Requirement("zone", "In", ("x", str(number))),)).tolist() == [1]


def test_proofs_become_credible_when_the_clock_reaches_them_and_only_then() -> None:
    label = names.trust_label("snp")
    at = int(NOW)
    nodes = [build_node("a", labels={label: str(at)}), build_node("b", labels={label: str(at + 50)}), build_node("c")]
    snapshot = take_snapshot(nodes, [])
    seen = [snapshot.proven_at((("snp",),), latest).tolist() for latest in (at, at + 49, at + 50, at - 1, at + 99)]
    assert seen == [
        [at, NEVER, NEVER], [at, NEVER, NEVER], [at, at + 50, NEVER], [NEVER, NEVER, NEVER], [at, at + 50, NEVER],
    ]  # fmt: skip


def test_a_taint_spells_itself_as_kubectl_does() -> None:
    assert str(Taint("a", "b", "NoSchedule")) == "a=b:NoSchedule"
    assert str(Taint("a", "", "NoExecute")) == "a:NoExecute"


def test_an_empty_cluster_is_a_snapshot_too() -> None:
    snapshot = take_snapshot([], [PodUsage("a", "x", "y", 1, 1, 1)])
    assert snapshot.rows_of((Requirement("a", "Exists"),)).size == 0
    assert snapshot.proven_at((("snp",),), 5).size == 0
    assert snapshot.row_of("a") is None
