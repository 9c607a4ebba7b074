"""What the chart passes, the programs understand: each flag, each path, the configuration's text."""

import re

import click
import pytest
import yaml

from tests.chart.render import CHART, CI_VALUES, RELEASE, containers, one, pod_specs, render


def command(name):
    from webhook.cli.root import cli

    return cli.get_command(click.Context(cli), name)


def ours(objects):
    """Containers that run our program: the second scheduler is Kubernetes' own."""
    return [container for name, container in containers(objects).items() if name != "scheduler"]


@pytest.mark.parametrize("values_file", CI_VALUES, ids=lambda file: file.stem)
def test_every_flag_of_the_chart_exists(values_file):
    for container in ours(render(values_file=values_file)):
        subcommand, *arguments = container["args"]
        found = command(subcommand)
        assert found is not None, subcommand
        options = {word for parameter in found.params for word in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in arguments if word.startswith("--")} <= options


def test_one_of_the_values_files_has_the_monitor_loop():
    rendered = [containers(render(values_file=file))["monitor"]["args"] for file in CI_VALUES]
    assert any("--loop" in arguments for arguments in rendered)


@pytest.mark.parametrize("values_file", CI_VALUES, ids=lambda file: file.stem)
def test_every_path_is_on_a_mounted_volume(values_file):
    objects = render(values_file=values_file)
    for container in containers(objects).values():
        mounted = {m["mountPath"] for m in container["volumeMounts"]}
        for argument in container["args"]:
            if argument.startswith("/"):
                assert any(argument == m or argument.startswith(m + "/") for m in mounted), argument


@pytest.mark.parametrize("values_file", CI_VALUES, ids=lambda file: file.stem)
def test_every_mount_has_its_volume(values_file):
    for spec in pod_specs(render(values_file=values_file)).values():
        volumes = {v["name"] for v in spec["volumes"]}
        mounts = {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}
        assert mounts == volumes


@pytest.mark.parametrize("values_file", CI_VALUES, ids=lambda file: file.stem)
def test_the_configuration_of_each_values_file_is_accepted(values_file):
    from webhook.configuration import load

    text = one(render(values_file=values_file), "ConfigMap", f"{RELEASE}-config")["data"]["config.yaml"]
    assert load(text, source="the chart").prometheus is not None


def test_bind_and_ops_ports_are_the_declared_ones():
    for container in containers(render()).values():
        binds = [re.fullmatch(r"0\.0\.0\.0:(\d+)", word) for word in container["args"]]
        assert [int(b[1]) for b in binds if b] == [p["containerPort"] for p in container.get("ports", [])]


def test_the_defaults_only_look():
    assert yaml.safe_load(yaml.safe_load((CHART / "values.yaml").read_text())["config"])["mode"] == "observe"
