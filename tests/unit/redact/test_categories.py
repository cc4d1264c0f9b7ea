"""Words of policies."""

import pytest

from sekisho.api.v1alpha1.classificationpolicy import WORDS
from sekisho.errors import Reason, RefusedError
from sekisho.redact.categories import MEANINGS, Category, select


def test_an_unknown_word_is_refused_by_name() -> None:
    with pytest.raises(RefusedError) as refusal:
        select(["payment", "pyament"])
    assert refusal.value.reason is Reason.POLICY_INVALID
    assert "'pyament'" in refusal.value.message
    assert "jp-my-number" in refusal.value.message


def test_what_only_a_dictionary_of_names_finds_is_told() -> None:
    chosen = select(["person", "contact"])
    assert chosen.lacking == {Category.PERSON}
    assert chosen.categories == {Category.PERSON, Category.PHONE, Category.EMAIL}


def test_a_category_may_be_named_alone() -> None:
    assert select(["jp-my-number"]).categories == {Category.JP_MY_NUMBER}
    assert select([]).categories == frozenset()


def test_every_category_has_a_meaning_and_a_code_of_its_own() -> None:
    assert set(MEANINGS) == set(Category)
    codes = [item.code for item in MEANINGS.values()]
    assert len(set(codes)) == len(codes)
    assert all(len(code) == 3 and code.isupper() for code in codes)
    assert len({item.rank for item in MEANINGS.values()}) == len(MEANINGS)


def test_policies_may_name_every_category_and_group_but_that_of_placeholders() -> None:
    known = {item.value for item in Category} | {meaning.group for meaning in MEANINGS.values()}
    assert set(WORDS) == known - {"placeholder"}
