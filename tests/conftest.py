"""What tests share: a small archive, an untrained network, a real S3 server, the real frames."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import s3fs

from nightsift.archive.simulator import Rates, write_archive
from nightsift.archive.stores import Workspace

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"

Configure = Callable[..., Path]
RATES = Rates(meteors=0.5, satellites=0.2, aircraft=0.1, dropped=0.03, corrupt=0.05)


def untrained(folder: Path, seed: int = 0, **recipe: Any) -> Path:
    """A model package whose network knows nothing and is quick; every frame scores above 0.1."""
    import torch

    from nightsift.models.networks import build
    from nightsift.models.package import save_package
    from nightsift.models.recipe import Recipe

    torch.manual_seed(seed)
    save_package(
        folder,
        build("resnet18", 2),
        name="untrained",
        architecture="resnet18",
        classes=("meteor", "nothing"),
        threshold=0.1,
        recipe=Recipe(size_px=64, **recipe),
        card="# Untrained\n",
    )
    return folder


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model package whose network knows nothing and is quick."""
    return untrained(tmp_path_factory.mktemp("untrained"))


@dataclass(frozen=True)
class Simulated:
    """A written archive with what the simulator knows of it."""

    folder: Path
    truth: list[dict[str, object]]

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    def keys(self) -> list[str]:
        return sorted(str(path.relative_to(self.archive)) for path in self.archive.rglob("*.jpg"))


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Two stations, two nights of 25 small frames, the clocks changing in the first; some frames corrupt."""
    folder = tmp_path_factory.mktemp("simulated")
    truth = write_archive(folder, stations=2, nights=2, frames=25, seed=3, rates=RATES, small=True)
    return Simulated(folder, truth)


@pytest.fixture
def configure(tmp_path: Path, simulated: Simulated, package: Path) -> Configure:
    """Write a nightsift.toml for the simulated archive, or for what the arguments name instead."""

    def write(
        archive: str | Path = simulated.archive,
        stations: str | Path = simulated.folder / "stations.toml",
        workspace: str | Path = "workspace",
        extra: str = "",
        model: str | Path = package,
        name: str = "nightsift.toml",
    ) -> Path:
        path = tmp_path / name
        path.write_text(
            f'[archive]\nurl = "{archive}"\nstations = "{stations}"\n'
            f'[workspace]\nurl = "{workspace}"\n[model]\npackage = "{model}"\n{extra}'
        )
        return path

    return write


@pytest.fixture
def one_night(tmp_path: Path, simulated: Simulated) -> Path:
    """A private copy of the archive's first station-night, to be damaged."""
    first = simulated.keys()[0]
    folder = Path(first).parent
    copy = tmp_path / "damaged"
    shutil.copytree(simulated.archive / folder, copy / folder)
    return copy


@dataclass(frozen=True)
class Bucket:
    """A new bucket of the real server."""

    name: str
    filesystem: s3fs.S3FileSystem

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def upload(self, folder: Path) -> None:
        self.filesystem.put(f"{folder}/", f"{self.name}/", recursive=True)


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads to a running Ceph radosgw."""
    if shutil.which("radosgw") is None and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        pytest.skip("a real S3 server is needed: apt-get install ceph-mon ceph-osd radosgw")
    script = ROOT / "tests" / "servers" / "radosgw.sh"
    folder = tmp_path_factory.mktemp("rgw")
    subprocess.run([script, "up", folder, str(_free_port())], check=True, timeout=300)
    shown = subprocess.run(
        ["bash", "-c", f". {folder}/env.sh && env -0"], check=True, capture_output=True, text=True
    ).stdout
    variables = dict(line.split("=", 1) for line in shown.split("\0") if line.startswith("AWS_"))
    yield variables
    subprocess.run([script, "down", folder], check=True, timeout=60)


def _free_port() -> int:
    # The monitor takes the two ports above the server's.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]) // 10 * 10


@pytest.fixture(scope="session")
def common_bucket(s3_environment: dict[str, str]) -> str:
    """A bucket that many tests use, each below a prefix of its own: making one takes its time."""
    s3fs.S3FileSystem(
        key=s3_environment["AWS_ACCESS_KEY_ID"],
        secret=s3_environment["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=s3_environment["AWS_ENDPOINT_URL"],
    ).mkdir("common")
    return "common"


@pytest.fixture
def s3(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The address and the secrets of the real server in the environment."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(
    s3: None, s3_environment: dict[str, str], request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Bucket]]:
    """Make buckets on the real server, whose address and secrets are in the environment."""
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem(endpoint_url=s3_environment["AWS_ENDPOINT_URL"])
    made = []

    def make(purpose: str) -> Bucket:
        name = f"{purpose}-{abs(hash(request.node.name)) % 10**8}"
        filesystem.mkdir(name)
        made.append(name)
        return Bucket(name, filesystem)

    yield make
    for name in made:
        filesystem.rm(name, recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Frames of real stations, kept outside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"the real frames are not here: {SHARED}")
    return SHARED


def products(workspace: str | Path) -> dict[str, bytes]:
    """Every object of a workspace that must not depend on when, how or by whom it was made."""
    store = Workspace(str(workspace))
    kept = ("frames/", "differences/", "scores/", "releases/")
    keys = [key for prefix in kept for key in store.names(prefix.rstrip("/"))]
    return {key: store.read(key) for key in keys}
