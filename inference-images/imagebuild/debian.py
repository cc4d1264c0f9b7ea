"""Lay Debian packages into an empty folder: the base of every image, without a base image and without a shell.

Packages are fetched by the host's apt, which checks the archive's signature. No maintainer script runs; what one
would have made and a process needs (accounts, the linker's cache, the certificate bundle) is written here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from imagebuild.failure import ImageBuildError, find_remedy, run_program
from imagebuild.store import cache_folder, locked, say

RUN_AS = 65532
"""User and group of every process in every image."""

RELEASE = "bookworm"
"""Debian's release that every image is made of; it has Python 3.11."""

PYTHON: tuple[str, ...] = (
    "libc6", "libgcc-s1", "zlib1g", "libexpat1", "libffi8", "libssl3", "libbz2-1.0", "liblzma5", "libuuid1",
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib",
)  # fmt: skip
"""Python 3.11 and what its own extension modules link to."""

AGENT_PYTHON: tuple[str, ...] = tuple(name for name in PYTHON if name not in {"libbz2-1.0", "liblzma5", "libuuid1"})
"""Python for the agent: it compresses nothing."""

NFTABLES: tuple[str, ...] = (
    "nftables", "libnftables1", "libnftnl11", "libmnl0", "libgmp10", "libjansson4", "libxtables12",
    "libedit2", "libtinfo6", "libbsd0", "libmd0",
)  # fmt: skip
"""The nft program and everything it links to."""

_SKIPPED = (
    "./usr/share/man/*",
    "./usr/share/locale/*",
    "./usr/share/lintian/*",
    "./usr/share/bug/*",
    "*/__pycache__/*",
)
_UNUSED_STDLIB = (
    "test", "idlelib", "lib2to3", "tkinter", "ensurepip", "pydoc_data", "turtledemo", "distutils", "curses", "dbm",
)  # fmt: skip
_UNUSED_FILES = (
    "usr/lib/*-linux-gnu/gconv", "usr/lib/*-linux-gnu/audit", "usr/share/applications", "usr/share/pixmaps",
    "usr/share/icons", "usr/share/binfmts", "usr/share/menu", "etc/ld.so.conf.d/fakeroot*", "usr/share/info",
    "usr/lib/python3*/config-*", "usr/lib/systemd", "etc/init.d",
    "usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/share/bug",
)  # fmt: skip


def fetch_packages(names: Sequence[str]) -> dict[str, Path]:
    """Return the package files by name, from the cache or from the configured mirrors.

    Raises:
        ImageBuildError: apt is missing or its release has no such package.
    """
    folder = cache_folder() / "debs"
    with locked(cache_folder() / "debs.lock", "Debian packages"):
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [name for name in names if _find_package(folder, name) is None]
        if wanted:
            say(f"Debian packages: fetching {len(wanted)} (seconds)")
            _download(wanted, folder)
        found = {name: _find_package(folder, name) for name in names}
    missing = sorted(name for name, file in found.items() if file is None)
    if missing:
        raise ImageBuildError(f"apt fetched nothing for {', '.join(missing)}; run apt-get update and try again")
    return {name: file for name, file in found.items() if file is not None}


def forget_packages() -> None:
    """Drop the fetched packages so that the next build takes the archive's newest.

    Raises:
        ImageBuildError: the package lists could not be updated.
    """
    if is_release_here():
        with locked(cache_folder() / "apt.lock", "apt"):
            run_program(["apt-get", "update", "-q"], remedy="Run as root.")
    with locked(cache_folder() / "debs.lock", "Debian packages"):
        shutil.rmtree(cache_folder() / "debs", ignore_errors=True)


def version_of(package: Path) -> str:
    """Return the version in a package file's name (apt writes a colon as %3a)."""
    return package.name.split("_")[1].replace("%3a", ":")


def _find_package(folder: Path, name: str) -> Path | None:
    found = sorted(folder.glob(f"{name}_*.deb"), key=lambda p: p.stat().st_mtime)
    return found[-1] if found else None


def _download(names: Sequence[str], folder: Path) -> None:
    for left in folder.glob(".part-*"):  # of killed builds: whoever is here holds the lock
        shutil.rmtree(left)
    part = folder / f".part-{os.getpid()}"
    part.mkdir()
    try:
        if is_release_here():
            _download_by_apt(names, part)
        else:
            _download_in_container(names, part)
        for file in part.glob("*.deb"):
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_release_here(release: Path = Path("/etc/os-release")) -> bool:
    """Tell whether this machine is the Debian release the images are made of."""
    try:
        return f"VERSION_CODENAME={RELEASE}" in release.read_text().splitlines()
    except OSError:
        return False


def _download_by_apt(names: Sequence[str], part: Path) -> None:
    # apt's own sandbox user may not write into a cache folder of ours; the signature check is not affected by this
    command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *names]
    try:
        run_program(command, cwd=part)
    except ImageBuildError:
        with locked(cache_folder() / "apt.lock", "apt"):
            run_program(["apt-get", "update", "-q"], remedy="Run as root, or run apt-get update first.")
        run_program(command, cwd=part, remedy="Is the Debian mirror reachable?")


def _download_in_container(names: Sequence[str], part: Path) -> None:
    """Let the apt of a Debian container fetch them: on laptops that run another system and have Docker."""
    script = 'apt-get update -q && cd /out && apt-get download -q -o APT::Sandbox::User=root "$@" && chown "$OWNER" ./*'
    run_program(
        ["docker", "run", "--rm", "-e", f"OWNER={os.getuid()}:{os.getgid()}", "-v", f"{part}:/out",
         f"debian:{RELEASE}-slim", "sh", "-c", script, "fetch", *names],
        remedy=f"The images are made of Debian packages of {RELEASE}: build on that release, or with a Docker engine.",
    )  # fmt: skip


def lay_root(root: Path, packages: Sequence[Path]) -> None:
    """Unpack packages into an empty root and finish it with accounts and the linker's cache."""
    for folder in (
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "etc",
        "tmp",
        "dev",
        "proc",
        "sys",
        "run",
        "models",
        "app",
    ):
        (root / folder).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for package in packages:
        _unpack(package, root)
    _trim(root)
    _write_accounts(root)
    if (root / "usr/share/ca-certificates").is_dir():
        _write_certificates(root)
    (root / "tmp").chmod(0o1777)
    run_program(["ldconfig", "-r", root], remedy="Install libc-bin; it lies in /usr/sbin, which must be in PATH.")


def _unpack(package: Path, root: Path) -> None:
    command = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner"]
    try:
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as reader:
            laid = subprocess.run(
                [*command, *(f"--exclude={pattern}" for pattern in _SKIPPED)],
                stdin=reader.stdout, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert reader.stdout is not None
            assert reader.stderr is not None
            reader.stdout.close()
            said = reader.stderr.read().decode(errors="replace")
    except FileNotFoundError as missing:
        raise ImageBuildError(f"{missing.filename} is not installed. Install the packages dpkg and tar.") from missing
    if laid.returncode != 0 and (remedy := find_remedy(laid.stderr)):
        raise ImageBuildError(f"{package.name} could not be unpacked: {laid.stderr.strip()[-500:]}. {remedy}")
    if reader.returncode != 0 or laid.returncode != 0:
        why = (said or laid.stderr).strip()[-500:]
        raise ImageBuildError(f"{package.name} could not be unpacked: {why}. Remove {package} and try again.")


def _trim(root: Path) -> None:
    for doc in root.glob("usr/share/doc/*/*"):
        if doc.name != "copyright":  # licences ask to be kept beside what they license
            remove(doc)
    for stdlib in root.glob("usr/lib/python3*"):
        for name in _UNUSED_STDLIB:
            remove(stdlib / name)
    for pattern in _UNUSED_FILES:
        for path in root.glob(pattern):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_accounts(root: Path) -> None:
    (root / "etc/passwd").write_text(
        f"root:x:0:0:root:/:/usr/sbin/nologin\nnonroot:x:{RUN_AS}:{RUN_AS}:nonroot:/tmp:/usr/sbin/nologin\n"
    )
    (root / "etc/group").write_text(f"root:x:0:\nnonroot:x:{RUN_AS}:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")


def _write_certificates(root: Path) -> None:
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle.write_text("".join(c.read_text().rstrip("\n") + "\n" for c in certificates))
    # Debian's OpenSSL looks for cert.pem in /usr/lib/ssl, which the openssl package would have linked
    link = root / "usr/lib/ssl/cert.pem"
    link.parent.mkdir(parents=True, exist_ok=True)
    remove(link)
    link.symlink_to("/etc/ssl/certs/ca-certificates.crt")
