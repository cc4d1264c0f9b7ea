"""What no trigger meets is looked into by no rule: so wherever a rule finds something, a trigger has to be."""

import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.guards import attacks
from sekisho.gateway.guards.attack_rules import (
    ADDRESSED,
    EMBEDDED,
    EXFILTRATION,
    EXFILTRATION_ABOUT,
    PICTURE,
    RULES,
    TOOL,
)
from sekisho.gateway.guards.attack_triggers import SPACE
from sekisho.gateway.guards.attacks import find_attacks
from sekisho.gateway.guards.texts import Text
from sekisho.redact.fold import fold

SPACES = [" ", "  ", "\n", "\u3000", "\t \n", "\u2028", "\x1c", "\x85"]
FRAMES = ["{}", "<doc>{}</doc>", '"""{}"""', "> {}", "the following text: {}", "ab{}c", "\u200b{}"]


def split(pattern: str) -> list[str]:
    """Return the alternatives that a pattern has beside each other at its top."""
    parts, depth = [""], 0
    for sign in re.findall(r"\\.|\[(?:\\.|[^\]])*\]|.", pattern):
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def build(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(pattern, re.IGNORECASE | re.DOTALL | re.ASCII), fullmatch=True)


def carry(before: str, after: str) -> st.SearchStrategy[str]:
    gaps = st.sampled_from(["", " ", "を", " to "])
    return st.tuples(build(before), build(EXFILTRATION_ABOUT), gaps, build(after)).map(
        lambda parts: f"{parts[0]} {''.join(parts[1:])}"
    )


# Each alternative by itself: a trigger that lacks one is met by few texts of all.
MADE = [
    *(build(item) for pattern in (*RULES.values(), TOOL, ADDRESSED, EMBEDDED, PICTURE) for item in split(pattern)),
    *(carry(before, after) for before, after in EXFILTRATION),
]


def tell(text: Text) -> list[str]:
    """Return what the rules tell of a text that they look into whatever it holds."""
    folded = fold(text.value)
    return [verdict.rule for verdict in attacks._judge(text, folded.text, None)]


@pytest.mark.parametrize("texts", MADE, ids=range(len(MADE)))
def test_what_any_rule_tells_is_told_after_a_first_look_too(texts: st.SearchStrategy[str]) -> None:
    told = 0

    @settings(max_examples=8, deadline=None, derandomize=True)
    @given(texts, st.sampled_from(SPACES), st.sampled_from(FRAMES), st.sampled_from(["user", "tool"]))
    def hold(said: str, space: str, frame: str, role: str) -> None:
        nonlocal told
        text = Text("prompt", frame.format(said.replace(" ", space)), False, role)
        rules = tell(text)
        told += bool(rules)
        found = [verdict.rule for verdict in find_attacks([text])]
        assert [rule for rule in found if rule in rules] == rules[:16]

    hold()
    assert told


@given(
    st.lists(
        st.sampled_from(["%41%42", "00 ", "a1b2c3d4", "vafgehpgvba", "ignore all", "指示を無視", "llm", "x ", "あ"])
    ),
    st.booleans(),
)
def test_one_pass_meets_what_the_passes_after_it_look_for(parts: list[str], tool: bool) -> None:
    data = "".join(parts).encode()
    apart = [expression.stands_in(data) for expression in (attacks._STRANGE, attacks._MAYBE[tool])]
    assert attacks._ANYTHING[tool].stands_in(data) == any(apart)


def test_all_white_space_that_is_closed_up_for_the_rules_is_white_space_to_the_triggers() -> None:
    spaces = re.compile(re.sub(r"\\x\{(\w+)\}", lambda sign: rf"\u{int(sign[1], 16):04x}", SPACE))
    signs = "".join(map(chr, range(sys.maxunicode + 1)))
    assert spaces.findall(signs) == [sign for sign in signs if sign.isspace()]


@pytest.mark.parametrize(
    "prompt",
    [
        "Please summarise the following conversation in a few sentences, and list what is still open.",
        "契約の更新にあたり、条件の変更点と、その理由を説明する必要があります。",
        "Compare the two links https://example.com/a and https://example.com/b, and mind the path.",
    ],
)
def test_a_harmless_text_is_looked_into_by_no_rule(prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "_judge", None)
    assert find_attacks([Text("prompt", prompt, False, "user")]) == ()
