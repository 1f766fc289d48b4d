"""What the parent and a runner say to each other: msgpack messages, each behind a 4-byte big-endian length.

Parent to runner on the child's stdin, runner to parent on its stdout; pipes, because every platform has them. The end
of stdin tells the runner that its parent is gone. A `Step` carries what one decode step made for all streams.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Sampling(msgspec.Struct, frozen=True):
    """How tokens are drawn (spec a.9). `logit_bias` has token ids in decimal, or texts, with what is added."""

    seed: int = -1
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: list[str] = []
    logit_bias: list[tuple[str, float]] = []


class ToolCall(msgspec.Struct, frozen=True):
    """A function the model wants called; `arguments` are a JSON object as text, its members in the model's order."""

    name: str
    arguments: str
    id: str = ""


class Turn(msgspec.Struct, frozen=True):
    """One message of a chat; `thinking` is what an assistant thought before it, `images` are files as they came."""

    role: str
    content: str
    thinking: str = ""
    images: list[bytes] = []
    tool_calls: list[ToolCall] = []
    tool_name: str = ""
    tool_call_id: str = ""


class ToolUse(msgspec.Struct, frozen=True):
    """The tools of a request as JSON; `choice` is "none", "auto" or "required", `only` the one that may be called."""

    functions: str
    choice: str = "auto"
    only: str = ""
    parallel: bool = True


class Grammar(msgspec.Struct, frozen=True):
    """What form an answer must have; `kind` is "json_schema", "grammar" (Lark or GBNF) or "regex"."""

    kind: str
    text: str


class RawPrompt(msgspec.Struct, frozen=True, tag="raw"):
    """Text that goes in as it is, with `images` at its `[img]` or `[img-0]`, else before it."""

    text: str
    images: list[bytes] = []


class ChatPrompt(msgspec.Struct, frozen=True, tag="chat"):
    """Messages to be rendered by `go_template`, or by the model's own Jinja template where that is None.

    `think` is whether, or how hard ("low", "medium", "high", "max"), the model is to think first; None says nothing.
    `renderer` and `parser` name built-in ways to write the prompt and to read the answer; they go before templates.
    With a `suffix` the model writes what comes before it.
    """

    turns: list[Turn]
    go_template: str | None = None
    think: bool | str | None = None
    tools: ToolUse | None = None
    renderer: str = ""
    parser: str = ""
    suffix: str = ""


class Placement(msgspec.Struct, frozen=True):
    """Where the weights go.

    `gpu_layers` -1 puts all it can on the GPU. `split_mode` is "none", "layer", "row" or "tensor": how several GPUs
    share the model. Where it is "", `main_gpu` takes all if it is given, and else the roomiest GPU where `needs_bytes`
    fit well and not `spread`. `tensor_split` are the GPUs' proportions. `overrides` are "pattern=memory" for tensors by
    name, the first that matches wins; `cpu_experts` keeps the experts of the first so many layers in main memory, of
    all with -1.
    """

    gpu_layers: int = -1
    main_gpu: int | None = None
    split_mode: str = ""
    tensor_split: tuple[float, ...] = ()
    overrides: tuple[str, ...] = ()
    cpu_experts: int = 0
    spread: bool = False
    needs_bytes: int = 0


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter to put on a model: a GGUF file, and what its change is multiplied by."""

    path: str
    scale: float = 1.0


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load a model; the first message a runner gets.

    `num_ctx` is the most tokens one sequence may have, `num_cells` the tokens the cache holds for all of them,
    `num_sequences` how many may run at once. Of the `num_batch` tokens of a step, `micro_batch` are computed at a time,
    0 for all. `batch_threads` compute prompts, 0 for as many as `num_threads`. `flash_attention` None leaves it to
    llama.cpp. `kv_type_v` is the type of the cache's values where it is not that of its keys. `whole_window` has a
    sliding-window model keep what its window has left behind (more memory, more prompts reused); None weighs it.
    `embedding` is for a model that only embeds or ranks: nothing is reserved for generating. `draft_path` is a small
    model that guesses what this one will say. In the folder `shelf` sequences are kept on disk when they leave memory,
    `shelf_bytes` at most; "" keeps none. `adapters` change what the weights compute. `projector_path` is what makes
    images into what the model reads.
    """

    path: str
    num_ctx: int
    num_cells: int
    num_sequences: int
    num_batch: int = 512
    num_threads: int = 0
    use_mmap: bool | None = None
    flash_attention: bool | None = None
    kv_type: str = "f16"
    whole_window: bool | None = None
    embedding: bool = False
    shelf: str = ""
    shelf_bytes: int = 0
    micro_batch: int = 0
    batch_threads: int = 0
    use_mlock: bool = False
    use_direct_io: bool = False
    kv_type_v: str = ""
    placement: Placement = Placement()
    draft_path: str = ""
    adapters: list[Adapter] = []
    projector_path: str = ""
    rpc_servers: list[str] = []


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """A request. `prefix` are token ids put before the prompt; `want_context` asks for the ids of the whole.

    `truncate` lets a prompt that is too long be cut, `shift` lets an answer go on when the window is full; both keep
    `num_keep` tokens of the beginning. `logprobs` is how many likeliest tokens are told with each token's log
    probability; None tells neither. `draft_num_predict` is how many tokens are guessed ahead, whether that pays or
    not; 0 for none, negative for as many as pay. With `render_only` nothing is computed: the answer is `Rendered`.
    """

    id: int
    prompt: RawPrompt | ChatPrompt
    sampling: Sampling
    num_ctx: int
    num_predict: int = -1
    num_keep: int = 4
    stop: list[str] = []
    prefix: list[int] = []
    want_context: bool = False
    truncate: bool = True
    shift: bool = True
    grammar: Grammar | None = None
    logprobs: int | None = None
    draft_num_predict: int = -1
    render_only: bool = False


class Embed(msgspec.Struct, frozen=True, tag="embed"):
    """Texts to be embedded; `truncate` lets one that is too long be cut at its end."""

    id: int
    texts: list[str]
    num_ctx: int = 0
    truncate: bool = True


class Rank(msgspec.Struct, frozen=True, tag="rank"):
    """Documents to be scored against a query; `truncate` lets one that is too long be cut at its end."""

    id: int
    query: str
    documents: list[str]
    num_ctx: int = 0
    truncate: bool = True


class Tokenize(msgspec.Struct, frozen=True, tag="tokenize"):
    """A prompt whose tokens are wanted; with `begin` a raw one starts with BOS, where one belongs, as a chat does."""

    id: int
    prompt: RawPrompt | ChatPrompt
    begin: bool = False


class Detokenize(msgspec.Struct, frozen=True, tag="detokenize"):
    """Tokens whose text is wanted."""

    id: int
    tokens: list[int]


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Forget a request; nothing more is said of it."""

    id: int


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """Stop (or go on) decoding a request whose reader is slow."""

    id: int
    paused: bool


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Answered by `Pong` from the loop itself, so that a hung loop is noticed."""

    nonce: int


Question = Embed | Rank | Tokenize | Detokenize
"""What is answered in one piece, by a `Reply` or by `Refused`."""

ToRunner = Load | Submit | Question | Cancel | Pause | Ping


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The runner is up and has llama.cpp imported."""

    pid: int
    devices: list[str] = []


class LoadPhase(StrEnum):
    """What is being done of a load, in words for a screen and in this order; some only where there are such."""

    START = "runner"
    WEIGHTS = "weights"
    ADAPTERS = "adapters"
    CACHE = "cache"
    DRAFT = "draft"
    VISION = "vision"


class Loading(msgspec.Struct, frozen=True, tag="loading"):
    """How much of the weights is read, 0..1, and what is being done now.

    Of `num_layers`, the output counted as one, `gpu_layers` go to GPUs: 0 of 0 while nobody knows, or without GPUs.
    """

    fraction: float
    phase: LoadPhase = LoadPhase.WEIGHTS
    gpu_layers: int = 0
    num_layers: int = 0


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The model is ready. Sizes in bytes; `vram_bytes` is what the GPUs' free memory fell by.

    Of `num_layers` GPUs have `gpu_layers`; where there are GPUs the output counts as one of both.

    `overridden` tensors went where a pattern of the placement puts them. `warnings` says in words what of the `Load` is
    not kept to.
    """

    num_ctx: int
    num_ctx_train: int
    num_cells: int
    num_sequences: int
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    vram_bytes: int
    gpu_layers: int
    num_layers: int
    overridden: int = 0
    warnings: list[str] = []


class LoadRefused(msgspec.Struct, frozen=True, tag="load_refused"):
    """The model could not be loaded; the runner ends after saying so."""

    message: str


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A request's prompt is rendered and counted.

    To make it fit, `dropped` old messages were left out and `cut` tokens taken from its middle. `warnings` says in
    words what of the request is not kept to.
    """

    id: int
    prompt_tokens: int
    cached_tokens: int
    dropped: int = 0
    cut: int = 0
    warnings: list[str] = []


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """A request that cannot run; `kind` is "template", "too_long", "bad_request" or "internal"."""

    id: int
    kind: str
    message: str
    num_tokens: int = 0


class Rendered(msgspec.Struct, frozen=True, tag="rendered"):
    """The prompt of a request that asks for nothing else."""

    id: int
    text: str


class Logprob(msgspec.Struct, frozen=True, array_like=True):
    """The natural logarithm of a token's probability, and the likeliest tokens in its place, falling."""

    piece: bytes
    logprob: float
    top: list[Logprob] = []


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """New text of a request: whole UTF-8, stop strings cut; `tokens` may be above 0 while `text` is still held back.

    `thinking` comes before all `text`, also within one piece, `tool_calls` after it.
    """

    id: int
    text: str
    tokens: int
    logprobs: list[Logprob] = []
    thinking: str = ""
    tool_calls: list[ToolCall] = []


class PromptProgress(msgspec.Struct, frozen=True, array_like=True):
    """How many of a prompt's tokens are in the cache now."""

    id: int
    done: int
    total: int


class Finished(msgspec.Struct, frozen=True, array_like=True):
    """The end of a request; `reason` is "stop" or "length". Durations in nanoseconds.

    `shifted` is how many tokens were dropped to go on when the window was full. Of `drafted` tokens that were guessed
    ahead, `accepted` were right. `stop` is the stop string that ended it, "" where none did. `warnings` says in words
    what of the answer is not as it should be.
    """

    id: int
    reason: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    prompt_ns: int
    output_ns: int
    context: list[int] = []
    shifted: int = 0
    drafted: int = 0
    accepted: int = 0
    stop: str = ""
    warnings: list[str] = []


class CacheUse(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of sequences that nobody runs: in llama.cpp's cache, parked in main memory, on the shelf on disk."""

    kept_cells: int
    kept: int
    parked: int = 0
    parked_bytes: int = 0
    shelved: int = 0
    shelved_bytes: int = 0


class Step(msgspec.Struct, frozen=True, tag="step"):
    """What one step made, for all streams; within it pieces come before ends.

    `cache` is told where it may have changed.
    """

    pieces: list[Piece]
    finished: list[Finished]
    progress: list[PromptProgress]
    cells_used: int
    running: int
    waiting: int
    cache: CacheUse | None = None


class Embedded(msgspec.Struct, frozen=True, tag="embedded"):
    """The vectors of an `Embed` in its order: float32 values in the machine's byte order, of length 1.

    `cut` texts were too long.
    """

    id: int
    vectors: list[bytes]
    prompt_tokens: int
    prompt_ns: int
    cut: int = 0


class Ranked(msgspec.Struct, frozen=True, tag="ranked"):
    """The scores of a `Rank` in its order, as the model's classification head gives them.

    `cut` documents were too long.
    """

    id: int
    scores: list[float]
    prompt_tokens: int
    prompt_ns: int
    cut: int = 0


class Tokenized(msgspec.Struct, frozen=True, tag="tokenized"):
    """The tokens of a `Tokenize`: all of them, however long a context is."""

    id: int
    tokens: list[int]


class Detokenized(msgspec.Struct, frozen=True, tag="detokenized"):
    """The text of a `Detokenize`; bytes that are no whole character are U+FFFD."""

    id: int
    text: str


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The answer to `Ping`.

    `busy_ns` is how long the loop has worked since it began, without its waits for something to do; `llama_ns` how
    much of that llama.cpp took to decode and to sample.
    """

    nonce: int
    busy_ns: int = 0
    llama_ns: int = 0


Reply = Embedded | Ranked | Tokenized | Detokenized
FromRunner = Hello | Loading | Loaded | LoadRefused | Started | Refused | Rendered | Step | Reply | Pong
