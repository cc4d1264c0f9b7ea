"""The published schema of bills of materials, read when it is first needed: that takes seconds."""

from typing import Any


def find_problem(bill: str) -> Any:
    """Return what CycloneDX 1.6 holds against a bill; None where it is as it should be."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - see above; every worker collects every test
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
