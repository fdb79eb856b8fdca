"""Making a federation's folder: its keys, its certificates, and a bundle for every device."""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import requires, version
from importlib.resources import files as resources
from pathlib import Path
from platform import python_version
from string import Template

from fedsim.edge import bundle as bundles
from fedsim.edge.bundle import Bundle
from fedsim.edge.federation import FILE, DeviceNode, Federation
from fedsim.edge.pki import make_authority, make_folder, make_node_key, make_server_certificate
from fedsim.errors import FedsimError, RunFolderError
from fedsim.runlog import files
from fedsim.scenario.load import load
from fedsim.scenario.yaml_file import dump

__all__ = ["FederationPlan", "make_federation"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9A-Fa-f:]+")
_TEMPLATES = ("README.md", "fedsim-edge.service", "Containerfile")


@dataclass(frozen=True)
class FederationPlan:
    """What is asked for."""

    scenario: Path
    nodes: Sequence[str]
    """Names of the devices: the first is client 0 of the scenario, and so on."""
    host: str
    port: int = 8443
    control_port: int = 8000
    overrides: Sequence[str] = ()
    """``--set`` values, over what the scenario says."""

    def __post_init__(self) -> None:
        """Refuse names that cannot be names of files.

        Raises:
            FedsimError: if a name or the host is none, or two devices have the same name.
        """
        for name in self.nodes:
            if not _NAME.fullmatch(name):
                raise FedsimError(
                    f"{name!r} is not a valid name: use letters, digits, '.', '_' and '-'"
                )
        if not _HOST.fullmatch(self.host):
            raise FedsimError(f"{self.host!r} is neither a host's name nor an address")
        if len(set(self.nodes)) < len(self.nodes) or not self.nodes:
            raise FedsimError(f"device names must be distinct: {', '.join(self.nodes)}")


def make_federation(plan: FederationPlan, path: Path) -> Federation:
    """Make the folder ``path`` of a federation, with a bundle for every device.

    The scenario's ``clients.count`` becomes the number of devices.

    Raises:
        ScenarioError: if anything is wrong with the scenario.
        RunFolderError: if ``path`` holds something already.
    """
    scenario = load(plan.scenario, [*plan.overrides, f"clients.count={len(plan.nodes)}"])
    path = path.absolute()
    if path.exists() and any(path.iterdir()):
        raise RunFolderError(f"{path} is not empty; name a new folder")
    make_folder(path)
    files.write(path / "scenario.yaml", dump(scenario.resolved()))
    make_authority(path / "ca", scenario.name)
    make_server_certificate(path / "ca", path / "server", [plan.host])
    make_folder(path / "bundles")
    keys = {name: make_node_key(make_folder(path / "bundles" / name)) for name in plan.nodes}
    federation = Federation(
        path=path,
        name=scenario.name,
        host=plan.host,
        port=plan.port,
        control_port=plan.control_port,
        nodes=tuple(
            DeviceNode(name, client, key) for client, (name, key) in enumerate(keys.items())
        ),
        versions=_versions(),
    )
    for node in federation.nodes:
        _pack(federation, node)
    federation.write()
    (path / FILE).chmod(0o600)
    return federation


def _versions() -> dict[str, str]:
    packages = {name: version(name).partition("+")[0] for name in ("fedsim", "flwr", "torch")}
    return {"python": python_version(), **packages}


def _pack(federation: Federation, node: DeviceNode) -> None:
    """Fill a device's folder, which holds its key already, and make an archive of it."""
    folder = make_folder(federation.path / "bundles" / node.name)
    packed = Bundle(
        path=folder,
        federation=federation.name,
        node=node.name,
        client=node.client,
        clients=len(federation.nodes),
        host=federation.host,
        port=federation.port,
        versions=federation.versions,
    )
    content = {"schema": bundles.SCHEMA, **vars(packed)}
    del content["path"]
    files.write(folder / bundles.FILE, content)
    shutil.copyfile(federation.ca_certificate, packed.ca_certificate)
    shutil.copyfile(federation.scenario, packed.scenario)
    files.write(folder / "requirements.txt", "\n".join([*_pins(), ""]))
    words = {**content, "address": packed.address, "python": _short(federation.versions["python"])}
    for name in _TEMPLATES:
        text = (resources("fedsim.edge") / "templates" / name).read_text(encoding="utf-8")
        files.write(folder / name, Template(text).substitute(words))
    _archive(folder)


def _short(python: str) -> str:
    return ".".join(python.split(".")[:2])


def _pins() -> Iterable[str]:
    """Yield what a device installs: fedsim without its extras, every package as it is here."""
    yield f"fedsim[edge]=={version('fedsim')}"
    for requirement in requires("fedsim") or []:
        if "extra ==" not in requirement:
            name = re.split(r"[<>=!~;\[ ]", requirement)[0]
            yield f"{name}=={version(name).partition('+')[0]}"


def _archive(folder: Path) -> None:
    def owned_by_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o700 if member.isdir() else member.mode & 0o755
        return member

    archive = folder.with_name(f"{folder.name}.tar.gz")
    archive.touch(mode=0o600)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name, filter=owned_by_nobody)
