"""The verbs on a real model in a real child process."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from operator import mul
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from corral.runtime.errors import (
    BadRequest,
    InvalidOption,
    NotSupported,
    PromptTooLong,
    RequestCanceled,
    RunnerDied,
    TemplateFailed,
)
from corral.runtime.settings import Settings
from corral.runtime.snapshot import ModelState, RequestState
from corral.runtime.verbs import (
    FOREVER,
    Caller,
    ChatRequest,
    Chunk,
    CreateRequest,
    DetokenizeRequest,
    DoneReason,
    EmbedRequest,
    GenerateRequest,
    Message,
    Progress,
    TokenizeRequest,
)
from corral.runtime.workbench import Workbench
from corral.store.errors import BlobNotFound, InvalidName, ModelNotFound, SourceError
from corral.store.registries import Registries
from tests.conftest import STARTER_MODEL
from tests.waiting import until, until_true

GREEDY = {"temperature": 0, "num_predict": 12}


@pytest.fixture
async def workbench(own_store: Path) -> AsyncIterator[Workbench]:
    nobody = Registries("http://127.0.0.1:9")
    bench = Workbench(Settings(models=own_store, registries=nobody), warm=False)
    await bench.start()
    yield bench
    await bench.close()


def question(text: str = "Write one sentence about the sea.", **options: object) -> ChatRequest:
    return ChatRequest(STARTER_MODEL, (Message("user", text),), {**GREEDY, **options})


async def answer(bench: Workbench, request: ChatRequest | GenerateRequest) -> tuple[str, Chunk]:
    stream = bench.chat(request) if isinstance(request, ChatRequest) else bench.generate(request)
    chunks = [chunk async for chunk in stream]
    assert [chunk.done_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    return "".join(chunk.text for chunk in chunks), chunks[-1]


async def run(steps: AsyncIterator[Progress]) -> list[str]:
    return [step.status async for step in steps]


async def test_a_chat_is_answered_and_counted(workbench: Workbench) -> None:
    text, last = await answer(workbench, question())
    assert "sea" in text
    assert last.done_reason is DoneReason.LENGTH
    assert last.stats.output_tokens == 12
    assert last.stats.prompt_tokens > 20
    assert last.stats.load_ns > 0
    _, last = await answer(workbench, question())
    assert last.stats.cached_tokens == last.stats.prompt_tokens - 2
    (row, *_) = workbench.requests.rows()
    assert (row.state, row.status, row.output_tokens) == (RequestState.DONE, 200, 12)


async def test_streams_side_by_side_keep_to_their_own_question(workbench: Workbench) -> None:
    # Not the very words they have alone: llama.cpp's kernels round otherwise in a larger batch.
    subjects = ["sea", "number 7", "sun", "cat"]
    together = await asyncio.gather(*(answer(workbench, question(f"Write about the {one}.")) for one in subjects))
    for subject, (text, last) in zip(subjects, together, strict=True):
        assert subject.split()[-1] in text.lower()
        assert last.stats.output_tokens == 12


async def test_generate_continues_from_its_context(workbench: Workbench) -> None:
    first, last = await answer(workbench, GenerateRequest(STARTER_MODEL, "My name is Ada.", options=GREEDY))
    assert first
    assert len(last.context) == last.stats.prompt_tokens + last.stats.output_tokens
    _, second = await answer(
        workbench, GenerateRequest(STARTER_MODEL, "What is my name?", context=last.context, options=GREEDY)
    )
    assert second.stats.prompt_tokens > last.stats.prompt_tokens
    assert second.stats.cached_tokens >= last.stats.prompt_tokens
    _, shown = await answer(
        workbench, GenerateRequest(STARTER_MODEL, "What is my name?", context=last.context, render_only=True)
    )
    before, _, now = shown.rendered.partition(first)
    assert before.endswith("<|im_start|>user\nMy name is Ada.<|im_end|>\n<|im_start|>assistant\n")
    assert now.endswith("<|im_start|>user\nWhat is my name?<|im_end|>\n<|im_start|>assistant\n")


async def test_a_name_may_insist_on_this_machine(workbench: Workbench) -> None:
    for name in (f"{STARTER_MODEL}:local", f"{STARTER_MODEL}:LOCAL"):
        assert (await workbench.show(name)).name == STARTER_MODEL
    await workbench.copy(STARTER_MODEL, "mine:local")
    assert (await workbench.show("mine:local")).name == "mine:local"
    for name in ("nope:1b:local", "nope:local"):
        with pytest.raises(ModelNotFound, match=name):
            await workbench.show(name)


async def test_raw_prompts_go_in_as_they_are(workbench: Workbench) -> None:
    text, last = await answer(workbench, GenerateRequest(STARTER_MODEL, "1, 2, 3, 4,", raw=True, options=GREEDY))
    assert " 5" in text
    assert last.stats.prompt_tokens < 15
    assert last.context == ()


async def test_stop_strings_end_an_answer_and_are_cut(workbench: Workbench) -> None:
    raw = GenerateRequest(STARTER_MODEL, "1, 2, 3, 4,", raw=True, options={**GREEDY, "num_predict": 40, "stop": ["8,"]})
    text, last = await answer(workbench, raw)
    assert text.endswith("7, ")
    assert (last.done_reason, last.stop) == (DoneReason.STOP, "8,")


SHOTS = """Q: What is two plus two?
A: <think>I add two and two.</think>four
Q: What is two plus one?
A: <think>I add two and one.</think>three
Q: What is one plus one?
A: <think>I add one and one.</think>two
Q: What is three plus one?
A:{{ if false }}{{ range .Messages }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}"""


async def test_a_model_whose_template_knows_of_thoughts_thinks(workbench: Workbench) -> None:
    await run(workbench.create(CreateRequest("thinker", base=STARTER_MODEL, template=SHOTS)))
    capabilities = {one.name: one.capabilities for one in await workbench.list_models()}
    assert capabilities == {STARTER_MODEL: ("completion",), "thinker:latest": ("completion", "thinking")}
    assert (await workbench.show("thinker")).capabilities == ("completion", "thinking")
    options = {"temperature": 0, "num_predict": 60, "stop": ["\n"]}
    chat = ChatRequest("thinker", (Message("user", "go"),), options)
    chunks = [chunk async for chunk in workbench.chat(chat)]
    thinking = "".join(chunk.thinking for chunk in chunks)
    assert thinking.startswith("I add")
    assert "<" not in thinking
    stats = chunks[-1].stats
    assert 0 < stats.thinking_tokens < stats.output_tokens
    text, _ = await answer(workbench, GenerateRequest("thinker", "go", options=options, think=False))
    assert "<think>" in text
    schema = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]}
    bound = [
        chunk
        async for chunk in workbench.chat(replace(chat, format=schema, options={**options, "stop": []}, think="low"))
    ]
    assert "".join(chunk.thinking for chunk in bound) == thinking
    assert json.loads("".join(chunk.text for chunk in bound)) == {"a": "x"}
    for request in (question(), GenerateRequest(STARTER_MODEL, "go")):
        with pytest.raises(NotSupported, match=f'^"{STARTER_MODEL}" does not support thinking$'):
            await answer(workbench, replace(request, think=True))


async def test_a_prompt_is_shown_without_being_computed(workbench: Workbench) -> None:
    chat = ChatRequest(STARTER_MODEL, (Message("user", "hi"),), render_only=True)
    text, last = await answer(workbench, chat)
    assert (text, last.stats.output_tokens) == ("", 0)
    assert last.rendered.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    template = "{{ if .Suffix }}{{ .Prompt }}_{{ .Suffix }}{{ end }}"
    await run(workbench.create(CreateRequest("filler", base=STARTER_MODEL, template=template)))
    assert (await workbench.show("filler")).capabilities == ("completion", "insert")
    insert = GenerateRequest("filler", "a", suffix="b", render_only=True)
    _, last = await answer(workbench, insert)
    assert last.rendered == "a_b"
    _, last = await answer(workbench, replace(insert, prompt="a_b", suffix="", raw=True))
    assert last.rendered == "a_b"
    full = "registry.ollama.ai/library/smollm2:135m does not support insert"
    with pytest.raises(NotSupported, match=f"^{full}$"):
        await answer(workbench, replace(insert, model=STARTER_MODEL))


async def test_a_renderer_goes_before_templates(workbench: Workbench) -> None:
    await run(workbench.create(CreateRequest("mine", base=STARTER_MODEL, template="{{ .Prompt }}", renderer="llama3")))
    for chat, rendered in (
        (ChatRequest("mine", (Message("user", "hi"),), render_only=True), "<|start_header_id|>user"),
        (GenerateRequest("mine", "hi", render_only=True), "<|start_header_id|>user"),
        (GenerateRequest("mine", "hi", template="{{ .Prompt }}!", render_only=True), "hi!"),
    ):
        _, last = await answer(workbench, chat)
        assert last.rendered.startswith(rendered)
    steps = await run(workbench.create(CreateRequest("odd", base=STARTER_MODEL, renderer="nonsense", parser="qwen")))
    assert [step for step in steps if step.startswith("warning")] == [
        'warning: unknown renderer "nonsense": no chat will be answered',
        'warning: unknown parser "qwen": answers are read as the template shows; did you mean qwen3?',
    ]
    with pytest.raises(TemplateFailed, match='unknown renderer "nonsense"'):
        await answer(workbench, GenerateRequest("odd", "hi"))


async def test_load_and_unload_without_a_prompt(workbench: Workbench) -> None:
    _, last = await answer(workbench, ChatRequest(STARTER_MODEL, keep_alive_s=FOREVER))
    assert last.done_reason is DoneReason.LOAD
    (loaded,) = await workbench.loaded()
    assert (loaded.name, loaded.expires_at, loaded.context_length) == (STARTER_MODEL, None, 4096)
    assert loaded.size > 98_000_000
    workbench.latest()
    await until(lambda: any(model.state is ModelState.IDLE for model in workbench.latest().models))
    _, last = await answer(workbench, ChatRequest(STARTER_MODEL, keep_alive_s=0))
    assert last.done_reason is DoneReason.UNLOAD
    await until(lambda: not workbench._scheduler.residents)


async def test_closing_a_stream_ends_its_work(workbench: Workbench) -> None:
    endless = question("Count to one million.", num_predict=-1)
    async with aclosing(workbench.chat(endless)) as stream:
        await anext(stream)
    assert workbench.requests.rows()[0].state is RequestState.CANCELED
    runner = workbench._scheduler.residents[0].runner
    assert runner is not None
    await until(lambda: runner.running == 0)
    await answer(workbench, question())


async def test_a_request_is_canceled_by_its_id_wherever_it_is(workbench: Workbench) -> None:
    endless = ChatRequest(
        STARTER_MODEL, (Message("user", "Count."),), {"num_predict": -1}, caller=Caller("mine", "tui")
    )

    async def read() -> None:
        async for _ in workbench.chat(endless):
            pass

    reading = asyncio.create_task(read())
    await until(lambda: (row := workbench.requests.get("mine")) is not None and row.state is RequestState.LOADING)
    assert await workbench.cancel("mine")
    with pytest.raises(RequestCanceled):
        await reading
    assert not await workbench.cancel("mine")


async def test_a_dead_runner_fails_its_requests_and_the_next_one_loads_again(workbench: Workbench) -> None:
    async with aclosing(workbench.chat(question(num_predict=-1))) as stream:
        await anext(stream)
        runner = workbench._scheduler.residents[0].runner
        assert runner is not None
        os.kill(runner.pid, signal.SIGKILL)
        # llama.cpp warns while it loads; who is killed says nothing, and no warning of then is the reason.
        with pytest.raises(RunnerDied, match=r"details: SIGKILL$"):
            async for _ in stream:
                pass
    await until(lambda: workbench.events.newest()[0].kind == "unload")
    assert f"{STARTER_MODEL}: SIGKILL" in [event.text for event in workbench.events.newest() if event.kind == "crash"]
    text, _ = await answer(workbench, question())
    assert text
    assert not psutil.pid_exists(runner.pid)


async def test_no_child_is_left_behind(own_store: Path) -> None:
    before = set(psutil.Process().children())
    bench = Workbench(Settings(models=own_store))
    await bench.start()
    bench._spares.warm(0)
    await answer(bench, question())
    assert set(psutil.Process().children()) - before
    await bench.close()
    assert not set(psutil.Process().children()) - before


async def test_what_is_not_there_or_makes_no_sense_is_refused(workbench: Workbench) -> None:
    with pytest.raises(ModelNotFound, match="model 'nope' not found"):
        await answer(workbench, ChatRequest("nope", (Message("user", "hi"),)))
    with pytest.raises(InvalidName):
        await answer(workbench, ChatRequest("../../etc/passwd", (Message("user", "hi"),)))
    with pytest.raises(InvalidOption):
        await answer(workbench, question(num_ctx="many"))
    _, last = await answer(workbench, question(no_such_option=1))
    assert "no_such_option" in last.warnings[0]


async def test_a_model_made_from_another_shares_its_weights(workbench: Workbench) -> None:
    request = CreateRequest(
        "pirate",
        base=STARTER_MODEL,
        system="You are a pirate.",
        template="{{ .System }}|{{ .Prompt }}|",
        parameters={"temperature": 0.5, "stop": ["x", "y"]},
        messages=(Message("user", "ahoy"), Message("assistant", "arr")),
        licenses=("free",),
    )
    statuses = await run(workbench.create(request))
    assert statuses[-2:] == ["writing manifest", "success"]
    shown = await workbench.show("pirate")
    assert (shown.system, shown.template, shown.license) == (
        "You are a pirate.",
        "{{ .System }}|{{ .Prompt }}|",
        "free",
    )
    assert shown.parameters == (("stop", "x"), ("stop", "y"), ("temperature", "0.5"))
    assert [turn.content for turn in shown.messages] == ["ahoy", "arr"]
    plan = await workbench.plan_delete(["pirate"])
    assert plan.frees < 10_000
    assert plan.keeps > 98_000_000
    assert plan.shared_with == (STARTER_MODEL,)
    await workbench.delete("pirate")
    assert [model.name for model in await workbench.list_models()] == [STARTER_MODEL]
    await answer(workbench, question())


async def test_a_draft_model_comes_with_its_model(workbench: Workbench) -> None:
    # As its own draft model it is never faster, and always right but for rounding.
    weights = (await workbench.show(STARTER_MODEL)).modelfile.split("FROM ")[-1].split()[0]
    digest = Path(weights).name
    await run(workbench.create(CreateRequest("fast", base=STARTER_MODEL, draft_files={"small.gguf": digest})))
    await run(workbench.create(CreateRequest("faster", base="fast", system="Be brief.")))
    assert f"\nDRAFT {weights}\n" in (await workbench.show("faster")).modelfile
    asked = replace(question("Count to ten.", draft_num_predict=3, num_predict=30), model="faster")
    _, last = await answer(workbench, asked)
    assert 0 < last.stats.accepted <= last.stats.drafted
    assert last.warnings == ()
    _, last = await answer(workbench, replace(asked, options={**asked.options, "draft_num_predict": 0}))
    assert last.stats.drafted == 0
    with pytest.raises(BlobNotFound):
        await run(workbench.create(CreateRequest("x", base="fast", draft_files={"a": "sha256:" + "0" * 64})))
    with pytest.raises(BadRequest, match="exactly one"):
        await run(workbench.create(CreateRequest("x", base="fast", draft_files={"a": digest, "b": digest})))


async def test_copies_are_equal_and_deleting_the_last_name_frees_the_bytes(
    workbench: Workbench, own_store: Path
) -> None:
    await workbench.copy(STARTER_MODEL, "mine")
    first, second = await workbench.list_models()
    assert first.digest == second.digest
    await workbench.delete(STARTER_MODEL)
    assert (await answer(workbench, ChatRequest("mine", (Message("user", "hi"),), GREEDY)))[0]
    await workbench.delete("mine")
    with pytest.raises(ModelNotFound, match="model 'mine' not found"):
        await workbench.copy("mine", "yours")
    assert not [path for path in (own_store / "blobs").iterdir() if path.name.startswith("sha256-")]


async def test_a_copy_over_a_model_frees_what_only_that_had(workbench: Workbench, own_store: Path) -> None:
    def blobs() -> set[str]:
        return {path.name for path in (own_store / "blobs").iterdir()}

    before = blobs()
    await run(workbench.create(CreateRequest("pirate", base=STARTER_MODEL, system="You are a pirate.")))
    assert blobs() > before
    await workbench.copy("pirate", "PIRATE")
    assert (await workbench.show("pirate")).system == "You are a pirate."
    await workbench.copy(STARTER_MODEL, "pirate")
    assert blobs() == before
    assert await answer(workbench, ChatRequest("pirate", (Message("user", "hi"),), GREEDY))


async def test_noprune_keeps_what_a_copy_replaces(own_store: Path) -> None:
    bench = Workbench(Settings(models=own_store, no_prune=True), warm=False)
    await run(bench.create(CreateRequest("pirate", base=STARTER_MODEL, system="You are a pirate.")))
    before = {path.name for path in (own_store / "blobs").iterdir()}
    await bench.copy(STARTER_MODEL, "pirate")
    assert {path.name for path in (own_store / "blobs").iterdir()} == before


async def test_creating_refuses_what_cannot_be_made_and_leaves_nothing(workbench: Workbench, own_store: Path) -> None:
    before = sorted(path.name for path in (own_store / "blobs").iterdir())
    with pytest.raises(BadRequest, match="neither 'from' or 'files'"):
        await run(workbench.create(CreateRequest("x")))
    with pytest.raises(SourceError, match="pull model manifest"):
        await run(workbench.create(CreateRequest("x", base="nope")))
    with pytest.raises(BadRequest, match="relative"):
        await run(workbench.create(CreateRequest("x", files={"/etc/passwd": "sha256:" + "0" * 64})))
    with pytest.raises(BadRequest, match="template error"):
        await run(workbench.create(CreateRequest("x", base=STARTER_MODEL, template="{{ if")))
    with pytest.raises(InvalidOption):
        await run(workbench.create(CreateRequest("x", base=STARTER_MODEL, parameters={"top_k": "many"})))
    assert sorted(path.name for path in (own_store / "blobs").iterdir()) == before
    assert [model.name for model in await workbench.list_models()] == [STARTER_MODEL]


async def test_the_snapshot_shows_what_runs(workbench: Workbench) -> None:
    async with aclosing(workbench.chat(question(num_predict=-1))) as stream:
        await anext(stream)

        async def shown() -> bool:
            await anext(stream)
            snapshot = workbench.latest()
            return bool(snapshot.models) and snapshot.models[0].slots_used == 1 and snapshot.tokens_per_s > 0

        await until_true(shown)
        snapshot = workbench.latest()
        assert snapshot.requests[0].state is RequestState.DECODE
        assert snapshot.host is not None
        assert snapshot.host.memory_total > 0
        assert snapshot.models[0].state is ModelState.BUSY


LONG = "Tell me a very long story about a fox. " * 60


async def test_an_answer_goes_on_beyond_its_context_and_says_so(workbench: Workbench) -> None:
    small = {"temperature": 0, "seed": 1, "num_ctx": 128, "num_predict": 200}
    raw = GenerateRequest(STARTER_MODEL, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,", raw=True, options=small)
    text, last = await answer(workbench, raw)
    assert last.stats.output_tokens > 128
    assert len(text) > 128
    assert "oldest tokens were dropped" in last.warnings[0]
    _, stopped = await answer(workbench, replace(raw, shift=False))
    assert stopped.done_reason is DoneReason.LENGTH
    assert stopped.stats.prompt_tokens + stopped.stats.output_tokens == 128
    assert stopped.warnings == ()


async def test_what_is_too_long_is_cut_and_says_so_or_is_refused(workbench: Workbench) -> None:
    small = {"temperature": 0, "num_ctx": 256, "num_predict": 8}
    chat = ChatRequest(STARTER_MODEL, (Message("user", LONG), Message("user", LONG)), small)
    raw = GenerateRequest(STARTER_MODEL, LONG, raw=True, options=small)
    for request in (chat, raw):
        text, last = await answer(workbench, request)
        assert text
        assert last.stats.prompt_tokens == 248
        assert "tokens were cut from its middle" in last.warnings[-1]
        with pytest.raises(PromptTooLong, match="longer than the context length"):
            await answer(workbench, replace(request, truncate=False))


async def test_texts_become_vectors_beside_a_chat(workbench: Workbench) -> None:
    request = EmbedRequest(STARTER_MODEL, ("Foxes run.", "Rates fell.", "Foxes run."), options={"x": 1})
    async with aclosing(workbench.chat(question(num_predict=-1))) as stream:
        await anext(stream)
        found = await workbench.embed(request)
        await anext(stream)
    a, b, c = found.vectors
    assert math.fsum(map(mul, a, c)) > 0.9999 > math.fsum(map(mul, a, b))
    assert found.stats.prompt_tokens > 10
    assert "'x' is not known" in found.warnings[0]
    row = next(row for row in workbench.requests.rows() if row.path == "embed" or row.method == "embed")
    assert (row.state, row.prompt_tokens, row.model) == (RequestState.DONE, found.stats.prompt_tokens, STARTER_MODEL)
    assert (await workbench.embed(EmbedRequest(STARTER_MODEL))).vectors == ()
    with pytest.raises(PromptTooLong):
        await workbench.embed(EmbedRequest(STARTER_MODEL, (LONG * 10,), truncate=False))
    cut = await workbench.embed(EmbedRequest(STARTER_MODEL, ("x", LONG * 10), options={"num_ctx": 256}))
    assert "1 of 2 texts" in cut.warnings[0]


async def test_embedding_is_canceled_by_its_id(workbench: Workbench) -> None:
    await workbench.embed(EmbedRequest(STARTER_MODEL, ("x",)))
    request = EmbedRequest(STARTER_MODEL, (LONG,) * 500, caller=Caller("mine", "tui"))
    working = asyncio.create_task(workbench.embed(request))
    await until(lambda: (row := workbench.requests.get("mine")) is not None and row.state is RequestState.PREFILL)
    assert await workbench.cancel("mine")
    with pytest.raises(RequestCanceled):
        await working
    assert (await workbench.embed(EmbedRequest(STARTER_MODEL, ("x",)))).vectors


async def test_tokens_are_told_of_texts_and_of_what_a_chat_is_sent_as(workbench: Workbench) -> None:
    told = await workbench.tokenize(TokenizeRequest(STARTER_MODEL, "Hello, sea!", options={"num_ctx": 512}))
    assert told.load_ns > 0
    text = await workbench.detokenize(DetokenizeRequest(STARTER_MODEL, told.tokens))
    assert text.text == "Hello, sea!"
    assert text.load_ns < told.load_ns
    chat = await workbench.tokenize(question())
    _, last = await answer(workbench, question(num_predict=1))
    assert len(chat.tokens) == last.stats.prompt_tokens
    (row, *_) = workbench.requests.rows()
    assert (row.state, row.status) == (RequestState.DONE, 200)
    with pytest.raises(BadRequest, match="99999999 is no token"):
        await workbench.detokenize(DetokenizeRequest(STARTER_MODEL, (99_999_999,)))
    with pytest.raises(ModelNotFound):
        await workbench.tokenize(TokenizeRequest("nope", "x"))
