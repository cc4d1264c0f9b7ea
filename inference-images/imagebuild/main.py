"""Build sekisho's images into the cache: ``python inference-images/build.py [--json] NAME...``.

Progress goes to standard error. With ``--json`` standard output is a list of {name, archive, reference, tag, digest,
bytes}, in the order of the names. What did not change is not built again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from imagebuild import debian, store
from imagebuild.builders import Builder, BuildOrder, choose_builder
from imagebuild.catalog import REGISTRY, Image, find_image, list_names, render_profiles
from imagebuild.failure import ImageBuildError, told_failures
from imagebuild.roots import prepare_root
from imagebuild.working import work_folder

_ATTEMPTS = 3


def build_image(name: str, *, builder_name: str = "") -> store.BuiltImage:
    """Return the finished image, building it only where its inputs changed.

    Raises:
        ImageBuildError: it cannot be built here, or its sources changed during every attempt.
    """
    with store.locked(store.cache_folder() / "images" / f"{name}.lock", name):
        for _ in range(_ATTEMPTS):
            image = find_image(name)
            inputs = image.input_hash
            if built := store.find_built(name, inputs):
                store.say(f"{name}: unchanged, {built.bytes / 1e6:.0f} MB")
                store.point_at(built)
                return built
            if built := _build(image, inputs, choose_builder(builder_name)):
                return built
            store.say(f"{name}: its sources changed meanwhile, once more")
    raise ImageBuildError(f"the sources of {name} changed during {_ATTEMPTS} builds in a row; try when they rest")


def _build(image: Image, inputs: str, builder: Builder) -> store.BuiltImage | None:
    """Build and keep an image; None where the sources are no longer those of its name."""
    started = time.monotonic()
    store.say(f"{image.name}: building ({image.about})")
    tag = f"{REGISTRY}/{image.name}:{inputs}"
    archive = store.archive_path(image.name, inputs)
    store.drop_halves(image.name)
    with work_folder(image.name) as context:
        packages = prepare_root(context / "root", packages=image.debian, fill=image.fill, bytecode=image.bytecode)
        if find_image(image.name).input_hash != inputs:
            return None
        store.say(f"{image.name}: root is ready, packing it")
        order = BuildOrder(
            containerfile=image.containerfile,
            target=image.target,
            context=context,
            tag=tag,
            archive=archive,
            zstd=image.zstd,
        )
        digest = builder.build(order)
    built = store.BuiltImage(name=image.name, tag=tag, digest=digest, bytes=archive.stat().st_size, packages=packages)
    store.keep_built(built, inputs)
    store.say(f"{image.name}: {built.bytes / 1e6:.0f} MB in {time.monotonic() - started:.0f} s, {built.reference}")
    return built


def main(arguments: list[str]) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="build.py", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(list_names())}, or all")
    parser.add_argument("--json", action="store_true", help="print what was built as JSON")
    parser.add_argument(
        "--profiles", action="store_true", help="print the engines' Runtime manifests, digests filled in"
    )
    parser.add_argument("--refresh", action="store_true", help="fetch the Debian packages anew first")
    parser.add_argument("--builder", choices=["buildah", "docker"], default="", help="instead of what answers here")
    options = parser.parse_args(arguments)
    names = list_names() if options.names in ([], ["all"]) else options.names
    try:
        if unknown := sorted(set(names) - set(list_names())):
            raise ImageBuildError(f"no image is called {', '.join(unknown)}; there are: {', '.join(list_names())}")
        with told_failures():
            if options.refresh:
                debian.forget_packages()
            built = [build_image(name, builder_name=options.builder) for name in names]
    except ImageBuildError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        store.say("interrupted; what is built is kept, the rest begins anew")
        return 130
    if options.profiles:
        print("---\n".join(text for image in built for text in render_profiles(image.name, image.reference)), end="")
    elif options.json:
        print(json.dumps([_as_json(image) for image in built], indent=1))
    return 0


def _as_json(image: store.BuiltImage) -> dict[str, str | int]:
    return {
        "name": image.name,
        "archive": str(image.archive),
        "reference": image.reference,
        "tag": image.tag,
        "digest": image.digest,
        "bytes": image.bytes,
    }
