"""Servers that are known: named, used before, whether they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.api.server import Service
from corral.runtime.settings import Settings
from corral.tui.actions import Where
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.hosts import HostsDialog
from corral.tui.hosts import KnownHosts
from corral.tui.remote import how_it_answers
from corral.tui.screens.models import ModelsScreen
from tests.fakes.client import FakeClient
from tests.fakes.screen import SIZES, overflows, picture, until, workbench
from tests.fakes.served import Served, ServedFake
from tests.unit.tui.test_command_line import typed


@pytest.fixture
def other() -> Iterator[Served]:
    """Another server, with a model of its own."""
    fake = ServedFake.with_models("there:latest")
    service = Service(Settings(models=Path("/nonexistent"), listen_port=0), workbench=lambda _: fake)
    service.start()
    yield Served(fake, service)
    service.stop(drain_s=0)


def test_named_ones_come_first_and_used_ones_are_remembered(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    hosts = KnownHosts({"gpu01": "10.0.0.5"}, environ)
    for url in ("http://a:1", "http://b:2", "http://10.0.0.5:11434"):
        hosts.used(url)
    again = KnownHosts({"gpu01": "10.0.0.5"}, environ)
    assert [one.name for one in again.entries()] == ["gpu01", "b:2", "a:1"]
    assert again.words() == ["gpu01", "http://b:2", "http://a:1"]
    assert (again.name("http://10.0.0.5:11434"), again.name("http://a:1")) == ("gpu01", "")
    assert (again.address("gpu01"), again.address("c:3")) == ("http://10.0.0.5:11434", "c:3")


async def test_a_server_says_how_it_is(other: Served) -> None:
    assert (await how_it_answers(other.service.base_url, "")).startswith("● Corral, API 0.")
    assert (await how_it_answers("http://127.0.0.1:1", "")).startswith("✗ could not connect")


async def test_one_that_wants_a_key_says_so() -> None:
    settings = Settings(models=Path("/nonexistent"), listen_port=0, api_key="secret")
    service = Service(settings, workbench=lambda _: ServedFake())
    service.start()
    try:
        assert await how_it_answers(service.base_url, "") == "! wants a key"
        assert (await how_it_answers(service.base_url, "secret")).startswith("● Corral")
    finally:
        service.stop(drain_s=0)


@pytest.mark.parametrize("size", SIZES)
async def test_servers_are_chosen_by_seeing_which_answer(size: tuple[int, int], other: Served, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[hosts]\ngpu01 = "{other.service.base_url}"\naway = "127.0.0.1:1"\n')
    client = FakeClient.with_models("near:latest")
    app = workbench(client, Where.MODELS, CORRAL_CONFIG=str(file), HOME=str(tmp_path))
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: "near:latest" in picture(app))
        await pilot.press("H")
        await until(pilot, lambda: isinstance(app.screen, HostsDialog))
        await until(pilot, lambda: "● Corral" in picture(app) and "✗ could not" in picture(app))
        assert "▸ here" in picture(app)
        assert not overflows(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: "there:latest" in picture(app) and "near:latest" not in picture(app))
        await until(pilot, lambda: "gpu01 ●" in picture(app).splitlines()[0])
        await typed(pilot, app, "host here")
        await until(pilot, lambda: "near:latest" in picture(app))
        await until(pilot, lambda: "gpu01" not in picture(app).splitlines()[0])
        await typed(pilot, app, "host gpu01")
        await until(pilot, lambda: "there:latest" in picture(app))
        await typed(pilot, app, "host")
        await until(pilot, lambda: isinstance(app.screen, HostsDialog) and "▸ gpu01" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.is_modal)
        assert "there:latest" in picture(app)


async def test_a_deletion_that_waits_goes_no_further_than_the_server_it_is_for(other: Served, tmp_path: Path) -> None:
    client = FakeClient.with_models("there:latest")
    app = workbench(client, Where.MODELS, HOME=str(tmp_path))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        screen = app.screen
        assert isinstance(screen, ModelsScreen)
        await until(pilot, lambda: list(screen.table.keys_shown) == ["there:latest"])
        screen.action_mark()
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: "✗ in" in picture(app))
        doomed, near = screen.doomed[0], app.link
        await typed(pilot, app, f"host {other.service.base_url}")
        await until(pilot, lambda: "this is http" in picture(app) and "✗ in" not in picture(app))
        await screen._carry_out(await client.plan_delete(doomed.names), near).wait()
        await typed(pilot, app, "undo")
        await until(pilot, lambda: "nothing to undo" in picture(app))
        assert list(other.fake.models) == list(client.models) == ["there:latest"]
        assert "✓ 1 marked" not in picture(app)
