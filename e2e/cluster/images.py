"""The images that every node of a local cluster has: the pause container, CoreDNS and the tools of tests."""

import hashlib
import subprocess
from pathlib import Path

from e2e.cluster.oci import ImageContent, write_archive
from e2e.cluster.paths import cache_dir

PAUSE_IMAGE = "sekisho.test/pause:1"
COREDNS_IMAGE = "sekisho.test/coredns:1"
TOOLS_IMAGE = "sekisho.test/tools:1"
"""busybox and `probe`; without arguments it waits."""
BUSYBOX = Path("/bin/busybox")


def ensure_images(binaries: Path) -> list[Path]:
    """Return the archives of the images, writing those that are missing."""
    key = hashlib.sha256(Path(__file__).read_bytes() + binaries.name.encode()).hexdigest()[:12]
    directory = cache_dir() / f"images-{key}"
    directory.mkdir(parents=True, exist_ok=True)
    contents = {PAUSE_IMAGE: pause_image, COREDNS_IMAGE: coredns_image, TOOLS_IMAGE: tools_image}
    archives = []
    for name, content in contents.items():
        archive = directory / f"{name.partition('/')[2].partition(':')[0]}.tar"
        if not archive.exists():
            write_archive(archive, name, content(binaries))
        archives.append(archive)
    return archives


def pause_image(binaries: Path) -> ImageContent:
    return ImageContent(["/bin/probe", "pause"], {"bin/probe": binaries / "probe"}, {})


def coredns_image(binaries: Path) -> ImageContent:
    return ImageContent(["/coredns"], {"coredns": binaries / "coredns"}, {})


def tools_image(binaries: Path) -> ImageContent:
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    links = {f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"}
    return ImageContent(["/bin/probe"], {"bin/probe": binaries / "probe", "bin/busybox": BUSYBOX}, links)
