"""Plugin of the test image: vLLM asks lscpu, through a shell, which cores there are; this image has neither."""

from __future__ import annotations

import shutil


def register() -> None:
    """Let vLLM use its own answer for systems without lscpu. Called in every process of vLLM, maybe twice."""
    if shutil.which("lscpu"):
        return
    import vllm.utils.cpu_resource_utils as resources  # noqa: PLC0415 - only the image has it

    resources._get_cpu_list = resources._synthesize_cpu_list
