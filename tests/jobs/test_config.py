from pathlib import Path

import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.jobs.config import Configuration


def configuration(configure, archive="s3://archive", **more):
    return Configuration.read(configure(archive=archive, **more))


ENDPOINT = '[archive.storage_options]\nendpoint_url = "https://here"\n'


def test_the_workspace_is_on_the_archive_s_server_unless_it_says_otherwise(configure):
    here = configuration(configure, workspace="s3://products", extra=ENDPOINT)
    assert here.workspace.options == here.archive.options == (("endpoint_url", "https://here"),)
    other = '[workspace.storage_options]\nendpoint_url = "https://there"\n'
    there = configuration(configure, workspace="s3://products", extra=ENDPOINT + other)
    assert there.workspace.options == (("endpoint_url", "https://there"),)


def test_paths_start_at_the_configuration_s_folder(configure, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    read = configuration(configure, archive="frames")
    assert Path(read.archive.url) == tmp_path / "frames"
    assert Path(read.workspace.url) == tmp_path / "workspace"


def test_an_unknown_option_of_the_workspace_is_refused(configure):
    told = r"(?s)\[workspace\.storage_options\] has 1 fault.*endpoint: did you mean 'endpoint_url'"
    for workspace in ("workspace", "s3://products"):
        with pytest.raises(ConfigurationError, match=told):
            configuration(
                configure, workspace=workspace, extra='[workspace.storage_options]\nendpoint = "x"\n'
            )


def test_a_workspace_on_another_store_takes_what_fsspec_takes(configure):
    options = "[archive.storage_options]\nport = 2222\n"
    named = configuration(configure, archive="sftp://here/a", workspace="sftp://here/w", extra=options)
    assert named.workspace.options == (("port", 2222),)
    other = configuration(configure, archive="sftp://here/a", workspace="memory://w", extra=options)
    assert other.workspace.options == ()
    secret = '[workspace.storage_options]\npassword = "hunter2"\n'
    with pytest.raises(ConfigurationError, match="FSSPEC_SFTP_PASSWORD") as caught:
        configuration(configure, workspace="sftp://here/w", extra=secret)
    assert "hunter2" not in str(caught.value)


def test_the_package_s_threshold_holds_unless_another_is_named(configure):
    assert configuration(configure).threshold == 0.1
    assert configuration(configure, extra="threshold = 0\n").threshold == 0


def test_the_command_line_names_the_cluster(configure):
    assert Configuration.read(configure(), cluster="serial").run.cluster == "serial"
    with pytest.raises(ConfigurationError, match="cluster"):
        Configuration.read(configure(), cluster="cloud")
