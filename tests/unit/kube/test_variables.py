"""Numbers in environment variables: in their bounds, or refused by the variable's name."""

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.kube.variables import read_number, read_port


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "1.5", "８４４３", "six", "1" * 40])
def test_what_is_no_port_is_refused_by_name_and_not_repeated(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_port({"SEKISHO_X": text}, "SEKISHO_X", 443)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert caught.value.message == "SEKISHO_X is not a whole number from 1 to 65535"


def test_bounds_count_and_nothing_said_is_the_default() -> None:
    assert read_number({}, "SEKISHO_X", 7, least=3, most=9) == 7
    assert read_number({"SEKISHO_X": "3"}, "SEKISHO_X", 7, least=3, most=9) == 3
    assert read_number({"SEKISHO_X": "9"}, "SEKISHO_X", 7, least=3, most=9) == 9
    with pytest.raises(RefusedError, match="SEKISHO_X is not a whole number from 3 to 9"):
        read_number({"SEKISHO_X": "10"}, "SEKISHO_X", 7, least=3, most=9)
