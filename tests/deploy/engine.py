"""Builds the Dockerfile, and runs the image, where no engine is: by buildah, in chroots.

The base image cannot be had without a registry. In its place stands Debian 12 by mmdebstrap with its
own Python 3.11, made to look like the official image: `python` and `pip` in /usr/local.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.programs import find_program
from tests.project.runner import REPOSITORY

BASE = "localhost/python:3.11-slim-bookworm"
TAG = "localhost/kvb-admin:v1.2.3"
COMMIT = "0123456789" * 4
# How this machine gets to its package indexes, if in a way of its own.
OF_THIS_MACHINE = [Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf")]
# What an engine would mount, by what has to be copied into a new volume.
VOLUMES = [
    "/var/lib/kvb-admin",
    "/var/backups/kvb-admin",
    "/srv/kvb-admin/static",
    "/run/kvb-admin",
]
START = """
set -e
mount --bind "$IMAGE" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount --bind /dev "$ROOT/dev"
mount -t proc proc "$ROOT/proc"
mount --bind "$SECRETS" "$ROOT/mnt"
for place in $PLACES; do mount --bind "$VOLUMES$place" "$ROOT$place"; done
exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \\
    chroot --userspec="$OWNER" --groups= "$ROOT" "$@"
"""


class Engine:
    """One storage of images, below a directory that goes with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._base = directory / "base"

    def buildah(self, *words: str | Path) -> str:
        """Run it and return what it prints; CalledProcessError if it fails."""
        storage = ["--root", self.directory / "images", "--runroot", self.directory / "run"]
        argv = [find_program("buildah"), *storage, "--storage-driver", "vfs", *words]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def make_base(self) -> None:
        """Debian's packages as the image that the Dockerfile begins from."""
        program = find_program("mmdebstrap")
        packages = "--include=python3,python3-venv,ca-certificates"
        tar = self.directory / "base.tar"
        subprocess.run([program, "--variant=minbase", packages, "bookworm", tar], check=True)
        self._base.mkdir()
        subprocess.run(["tar", "-xf", tar, "-C", self._base, "--exclude=./dev"], check=True)
        subprocess.run(["chroot", self._base, "python3", "-m", "venv", "/usr/local"], check=True)
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, self._base, "/")
        self.buildah("commit", "--quiet", "--rm", container, BASE)

    def build(self, *options: str) -> None:
        """What `docker build` does with the same file and arguments."""
        mounts = [f"--volume={path}:{path}:ro" for path in OF_THIS_MACHINE if path.exists()]
        self.buildah(
            "bud", "--format=docker", "--isolation=chroot", "--layers=false", "--network=host",
            f"--build-arg=PYTHON={BASE}", "--build-arg=VERSION=1.2.3",
            f"--build-arg=COMMIT={COMMIT}", *mounts, *options, REPOSITORY,
        )  # fmt: skip

    def image(self) -> "Image":
        """The image that was built, unpacked."""
        known = json.loads(self.buildah("inspect", "--type", "image", TAG))
        root = Path(self.buildah("mount", self.buildah("from", TAG)))
        return Image(self.directory, root, known["Docker"]["config"])


class Image:
    """A read-only root, new volumes beside it, and what the image says of how it is started."""

    def __init__(self, directory: Path, files: Path, config: dict) -> None:
        self.files, self.config = files, config
        self.volumes, self.secrets = directory / "volumes", directory / "secrets"
        self._root = directory / "root"
        for path in (self._root, self.secrets):
            path.mkdir()
        for place in VOLUMES:  # with owner and mode, as a new volume of Docker
            there = self.volumes / place[1:]
            there.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", files / place[1:], there], check=True)

    def keep_secret(self, name: str, value: str) -> str:
        """A file that only the user of the image can read; its path inside."""
        path = self.secrets / name
        path.write_text(value)
        path.chmod(0o400)
        user, group = map(int, self.config["User"].split(":"))
        os.chown(path, user, group)
        return f"/mnt/{name}"

    def start(self, argv: list[str], **env: str) -> subprocess.Popen:
        """Start it as the image's user, in its directory, with its variables and these alone."""
        given = dict(each.split("=", 1) for each in self.config["Env"]) | env
        inside = ["env", "-i", f"--chdir={self.config['WorkingDir']}"]
        inside += [f"{name}={value}" for name, value in given.items()]
        outside = {
            "PATH": os.environ["PATH"],
            "IMAGE": str(self.files),
            "ROOT": str(self._root),
            "SECRETS": str(self.secrets),
            "VOLUMES": str(self.volumes),
            "PLACES": " ".join(VOLUMES),
            "OWNER": self.config["User"],
        }
        unshare = [shutil.which("unshare"), "--mount", "--propagation=private"]
        return subprocess.Popen(
            [*unshare, "sh", "-c", START, "sh", *inside, *argv],
            env=outside,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Start it and wait for its end; output and errors together."""
        process = self.start(list(argv), **env)
        output, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(argv, process.returncode, output)
