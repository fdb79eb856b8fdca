"""The folder of a federation and its bundles: who can read what, and what comes back."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fedsim.edge.bundle import Bundle
from fedsim.edge.federation import Federation
from fedsim.edge.layout import FederationPlan, make_federation
from fedsim.edge.pki import load_key
from fedsim.errors import FedsimError, RunFolderError
from fedsim.scenario.load import load

SECRETS = {"ca.key", "server.key", "node.key"}


def test_secrets_and_folders_are_their_owners_alone(federate):
    federation = federate()
    found = {path.name: path for path in federation.path.rglob("*")}
    assert found.keys() >= SECRETS
    for path in federation.path.rglob("*"):
        mode = path.stat().st_mode & 0o777
        if path.is_dir():
            assert mode == 0o700, path
        elif path.name in SECRETS or path.suffix == ".gz":
            assert mode == 0o600, path


def test_a_bundle_holds_no_secret_but_its_own_key(federate):
    federation = federate()
    with tarfile.open(federation.path / "bundles" / "a.tar.gz") as tar:
        names = {member.name: member for member in tar}
        files = [tar.extractfile(member) for member in names.values()]
        text = b"".join(file.read() for file in files if file is not None)
    assert names["a/node.key"].mode == 0o600
    assert text.count(b"PRIVATE KEY") == 2  # begin and end of one
    assert {Path(name).name for name in names} == {
        *("a", "bundle.json", "ca.crt", "node.key", "node.pub", "scenario.yaml"),
        *("requirements.txt", "fedsim-edge.service", "Containerfile", "README.md"),
    }


def test_a_federation_is_read_as_it_was_written(federate):
    federation = federate()
    assert Federation.load(federation.path) == federation
    assert [(node.name, node.client) for node in federation.nodes] == [("a", 0), ("b", 1)]


def test_a_bundle_is_the_same_from_its_folder_and_from_its_archive(federate, tmp_path):
    federation = federate()
    inside = Bundle.load(federation.path / "bundles" / "b")
    archive = tmp_path / "device" / "b.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes((federation.path / "bundles" / "b.tar.gz").read_bytes())
    unpacked = Bundle.load(archive)
    assert (unpacked.node, unpacked.client, unpacked.clients) == ("b", 1, 2)
    assert unpacked.address == f"127.0.0.1:{federation.port}" == inside.address
    assert isinstance(load_key(unpacked.key).curve, ec.SECP384R1)
    assert unpacked.path.stat().st_mode & 0o777 == 0o700
    assert Bundle.load(archive) == unpacked  # unpacked before: what it keeps stays


def test_the_scenario_has_as_many_clients_as_there_are_devices(federate):
    federation = federate(("x", "y", "z"))
    assert load(federation.scenario).clients.count == 3
    assert load(federation.path / "bundles" / "x" / "scenario.yaml").clients.count == 3


def test_the_readme_of_a_device_fits_on_a_card(federate):
    text = (federate().path / "bundles" / "a" / "README.md").read_text()
    assert len(text.splitlines()) == 10
    assert "$" not in text


def test_versions_are_pinned_without_what_only_a_simulation_needs(federate):
    lines = (federate().path / "bundles" / "a" / "requirements.txt").read_text().splitlines()
    assert all("==" in line and "+" not in line for line in lines)
    names = {line.partition("==")[0] for line in lines}
    assert names >= {"fedsim[edge]", "flwr", "torch"}
    assert not names & {"ray", "matplotlib", "flwr-datasets"}


@pytest.mark.parametrize("name", ["", "../a", "a/b", "a b", "-a", ".a", "a\n"])
def test_a_device_is_called_by_a_name_that_can_be_a_files(name, tmp_path):
    with pytest.raises(FedsimError, match="is not a valid name"):
        FederationPlan(tmp_path / "s.yaml", [name], "localhost")


def test_two_devices_have_two_names(tmp_path):
    with pytest.raises(FedsimError, match="names must be distinct: a, a"):
        FederationPlan(tmp_path / "s.yaml", ["a", "a"], "localhost")


def test_a_folder_that_holds_something_is_left_alone(federate):
    federation = federate()
    with pytest.raises(RunFolderError, match="is not empty"):
        make_federation(FederationPlan(federation.scenario, ["a"], "localhost"), federation.path)


def test_a_folder_without_a_federation_says_so(tmp_path):
    with pytest.raises(RunFolderError, match="holds no federation"):
        Federation.load(tmp_path)
    with pytest.raises(RunFolderError, match="is no bundle"):
        Bundle.load(tmp_path)


def test_an_archive_that_points_elsewhere_is_refused(tmp_path):
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("evil/bundle.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    with pytest.raises(RunFolderError, match="is out of place"):
        Bundle.load(archive)


def test_a_key_that_others_can_read_is_refused(federate):
    key = federate().path / "bundles" / "a" / "node.key"
    key.chmod(0o640)
    with pytest.raises(FedsimError, match="can be read by others: chmod 600"):
        load_key(key)


def test_flower_finds_the_server_wherever_the_folder_was_moved_to(federate, tmp_path):
    federation = federate()
    federation.connection()
    moved = federation.path.rename(tmp_path / "moved")
    connection = Federation.load(moved).connection()
    config = (moved / "server" / "flwr" / "config.toml").read_text()
    assert f'root-certificates = "{moved}/ca/ca.crt"' in config
    assert f'address = "127.0.0.1:{federation.control_port}"' in config
    assert connection.environment["FLWR_TELEMETRY_ENABLED"] == "0"
