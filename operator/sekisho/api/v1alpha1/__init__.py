"""Version v1alpha1 of the custom resources, one kind a module."""

from collections.abc import Mapping
from typing import Any, Final

from sekisho.api.v1alpha1 import (
    accesspolicy,
    classificationpolicy,
    datagrant,
    evidencepolicy,
    inferenceservice,
    keyreleasepolicy,
    model,
    runtime,
    site,
)

KINDS: Final[tuple[Mapping[str, Any], ...]] = (
    classificationpolicy.KIND,
    site.KIND,
    runtime.KIND,
    model.KIND,
    inferenceservice.KIND,
    evidencepolicy.KIND,
    keyreleasepolicy.KIND,
    datagrant.KIND,
    accesspolicy.KIND,
)
