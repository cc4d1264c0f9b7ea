"""A key is shown once; what the gateway holds of it fits it."""

import json
from datetime import UTC, datetime

from click.testing import CliRunner

from sekisho.access.apikeys import is_key, parse_api_keys
from sekisho.cli.main import cli


def test_a_name_that_is_none_and_a_time_that_is_none_are_refused() -> None:
    for arguments, told in (
        (["Not A Name"], "the API keys cannot be used: name"),
        (["ci", "--group", "system:masters"], "the API keys cannot be used"),
        (["ci", "--expires", "soon"], '--expires "soon" is no time such as 2027-01-01T00:00:00Z'),
        (["ci", "--expires", "2027-13-01T00:00:00Z"], "is no time such as"),
        (["ci", "--expires", "2020-01-01T00:00:00Z"], "has passed; the key would never count"),
    ):
        done = CliRunner().invoke(cli, ["api-key", *arguments])
        assert done.exit_code == 3
        assert done.output.startswith("InvalidSpec: ")
        assert told in done.output
        assert "sk-sekisho-" not in done.output


def test_the_key_that_is_shown_is_the_one_that_the_entry_admits() -> None:
    done = CliRunner().invoke(
        cli, ["api-key", "ci", "--group", "builders", "--expires", "2099-01-01T00:00:00Z", "--json"]
    )
    told = json.loads(done.output)
    keys = parse_api_keys(json.dumps({"keys": [told["entry"]]}))
    found = keys.find(told["key"], now=datetime(2026, 1, 1, tzinfo=UTC))
    assert is_key(told["key"])
    assert found is not None
    assert (found.name, found.groups, found.expires_at) == ("ci", ("builders",), "2099-01-01T00:00:00Z")
    shown = CliRunner().invoke(cli, ["api-key", "ci"]).output
    assert shown.startswith("Key, shown once:  sk-sekisho-")
    assert told["key"] not in shown
