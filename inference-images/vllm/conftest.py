"""vLLM's image, unpacked once for every test that runs it, and the cache that its starts share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from imagebuild.debian import RUN_AS
from imagebuild.main import build_image
from imagebuild.unpacked import lend_root


@pytest.fixture(scope="package")
def archive(need_root: None) -> Iterator[Path]:
    """Return the image's archive; its root, gigabytes, stays unpacked meanwhile."""
    built = build_image("vllm").archive
    with lend_root(built):
        yield built


@pytest.fixture(scope="package")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache that every start finds, as in a pod whose container starts again; the first finds it empty.

    vLLM keeps facts about classes of models there, by the digest of their source, and asks a process of its own where
    it has none: a quarter of a start. Of weights, keys and answers it keeps nothing.
    """
    folder = tmp_path_factory.mktemp("cache")
    os.chown(folder, RUN_AS, RUN_AS)
    return folder
