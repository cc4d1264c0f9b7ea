"""Properties of appraisal: it agrees with brute force, order decides nothing, and a stricter policy accepts no more."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.attest.appraise import AppraisalPolicy, appraise
from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.rules import AllOf, AnyOf, ChipIn, Every, FactIn, MeasurementIn, Pieces, Rule, TcbAtLeast
from sekisho.errors import RefusedError
from tests.unit.attest.claims import NOW, SNP, TPM, build_gpu

FEW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CODES = [b"\x01" * 48, b"\x02" * 48]
CHIPS = [b"\x03" * 64, b"\x04" * 64]


@dataclass(frozen=True)
class Wish:
    """A demand on all evidence of one kind, in plain values."""

    tee: Tee
    least: int
    codes: tuple[bytes, ...]
    chips: tuple[bytes, ...] | None
    version: int
    products: tuple[str, ...]

    def spell(self) -> Rule[Pieces]:
        leaves: list[Rule[Claims]] = [MeasurementIn(frozenset(self.codes)), TcbAtLeast("snp", self.version)]
        leaves += [FactIn("product", frozenset(self.products))]
        if self.chips is not None:
            leaves.append(ChipIn(frozenset(self.chips)))
        return Every(self.tee, AllOf(tuple(leaves)), self.least)

    def holds(self, pieces: Pieces) -> bool:
        mine = [piece for piece in pieces if piece.tee is self.tee]
        if len(mine) < self.least or (self.least > 1 and any(piece.chip_id is None for piece in mine)):
            return False
        return all(
            piece.measurement in self.codes
            and dict(piece.tcb)["snp"] >= self.version
            and piece.fact("product") in self.products
            and (self.chips is None or piece.chip_id in self.chips)
            for piece in mine
        )


def subsets(*values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), unique=True, min_size=1).map(tuple)


WISHES = st.builds(
    Wish, st.sampled_from([Tee.SNP, Tee.TPM]), st.integers(1, 2), subsets(*CODES), st.none() | subsets(*CHIPS),
    st.integers(0, 2), subsets("Genoa", "Milan"),
)  # fmt: skip
ALTERNATIVES = st.lists(st.lists(WISHES, min_size=1, max_size=2), min_size=1, max_size=3)


@st.composite
def pieces(draw: st.DrawFn) -> Pieces:
    """Draw up to three pieces of two kinds, with a GPU beside them now and then; few of them unacceptable."""
    made = []
    for number in range(draw(st.integers(0, 3))):
        base = draw(st.sampled_from([SNP, SNP, TPM]))
        made.append(
            replace(
                base,
                measurement=draw(st.sampled_from([*CODES, *CODES, CODES[0], bytes(48)])),
                chip_id=draw(st.sampled_from([*CHIPS, bytes([9, number]) * 32, None])),
                tcb=(("snp", draw(st.integers(0, 2))),),
                facts=(("product", draw(st.sampled_from(["Genoa", "Milan"]))), ("vmpl", "0")),
                debug=draw(st.sampled_from([False] * 9 + [True])),
                tcb_status=draw(st.sampled_from([TcbStatus.UNKNOWN] * 9 + [TcbStatus.REVOKED])),
                evidence_digest=f"sha256:{number:064x}",
            )
        )
    if draw(st.booleans()):
        made.append(build_gpu(7))
    return tuple(made)


def spell(alternatives: list[list[Wish]]) -> AppraisalPolicy:
    rules = [(f"a{at}", AllOf(tuple(wish.spell() for wish in wishes))) for at, wishes in enumerate(alternatives)]
    return AppraisalPolicy("p", AnyOf(tuple(rules)))


def is_accepted(found: Pieces, alternatives: list[list[Wish]]) -> bool:
    try:
        appraise(found, spell(alternatives), now=NOW)
    except RefusedError:
        return False
    return True


def may_be_accepted(found: Pieces, alternatives: list[list[Wish]]) -> bool:
    devices = [(piece.tee, piece.chip_id) for piece in found if piece.chip_id is not None]
    sound = all(
        not piece.debug and piece.tcb_status is not TcbStatus.REVOKED and piece.measurement != bytes(48)
        for piece in found
    )
    fits = any(all(wish.holds(found) for wish in wishes) for wishes in alternatives)
    return bool(found) and sound and len(set(devices)) == len(devices) and fits


@FEW
@given(pieces(), ALTERNATIVES)
def test_evidence_is_accepted_where_every_single_condition_holds_and_nowhere_else(
    found: Pieces, alternatives: list[list[Wish]]
) -> None:
    assert is_accepted(found, alternatives) == may_be_accepted(found, alternatives)


@pytest.mark.slow
@FEW
@given(pieces(), ALTERNATIVES, st.randoms(use_true_random=False))
def test_the_order_of_evidence_and_alternatives_decides_nothing(
    found: Pieces, alternatives: list[list[Wish]], random: Any
) -> None:
    mixed, others = list(found), [list(wishes) for wishes in alternatives]
    random.shuffle(mixed)
    random.shuffle(others)
    for wishes in others:
        random.shuffle(wishes)
    assert is_accepted(tuple(mixed), others) == is_accepted(found, alternatives)


@FEW
@given(pieces(), ALTERNATIVES, st.data())
def test_a_stricter_policy_accepts_nothing_that_was_refused(
    found: Pieces, alternatives: list[list[Wish]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(alternatives) - 1))
    wish = alternatives[at][0]
    stricter = data.draw(
        st.sampled_from(
            [
                [replace(wish, least=wish.least + 1), *alternatives[at][1:]],
                [replace(wish, version=wish.version + 1), *alternatives[at][1:]],
                [replace(wish, codes=wish.codes[1:] or wish.codes), *alternatives[at][1:]],
                [replace(wish, chips=(wish.chips or tuple(CHIPS))[:1]), *alternatives[at][1:]],
                [replace(wish, products=wish.products[1:] or wish.products), *alternatives[at][1:]],
                [*alternatives[at], data.draw(WISHES)],
            ]
        )
    )
    changed = [stricter if index == at else wishes for index, wishes in enumerate(alternatives)]
    assert is_accepted(found, alternatives) or not is_accepted(found, changed)
    fewer = alternatives[1:] or alternatives
    assert is_accepted(found, alternatives) or not is_accepted(found, fewer)


@pytest.mark.slow
def test_what_is_drawn_is_sometimes_accepted() -> None:
    accepted = []

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(pieces(), ALTERNATIVES)
    def draw(found: Pieces, alternatives: list[list[Wish]]) -> None:
        accepted.append(may_be_accepted(found, alternatives))

    draw()
    assert 5 <= sum(accepted) <= 295
