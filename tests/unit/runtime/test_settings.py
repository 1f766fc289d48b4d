"""The environment, read by the rules of spec e."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from corral.runtime import settings
from corral.runtime.durations import FOREVER, parse_keep_alive
from corral.runtime.errors import BadRequest
from corral.runtime.settings import Settings
from corral.runtime.variables import VARIABLES
from corral.store.folders import GgufFolder
from corral.store.registries import Hub, Identity, Mirror, Registries

HOME = Path("/home/someone")


def load(**environ: str) -> Settings:
    return settings.load(environ, HOME)


def test_defaults() -> None:
    found = load()
    assert structs.replace(found, reread=None, tell=None) == Settings(
        models=HOME / ".ollama" / "models",
        gguf_folders=found.gguf_folders,
        prompt_cache=HOME / ".cache" / "corral" / "sequences",
        prompt_cache_bytes=256_000_000,
        remotes_file=HOME / ".config" / "corral" / "remotes",
        registries=Registries(
            identity=Identity(HOME / ".ollama", HOME / ".docker" / "config.json"),
            hub=Hub(token_file=HOME / ".cache" / "huggingface" / "token"),
        ),
    )
    assert found.loopback


@pytest.mark.parametrize(
    ("text", "host", "port", "url"),
    [
        ("1.2.3.4", "1.2.3.4", 11434, "http://1.2.3.4:11434"),
        (":8080", "127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ("0.0.0.0", "0.0.0.0", 11434, "http://127.0.0.1:11434"),
        ("[::1]:1", "::1", 1, "http://[::1]:1"),
        ("::1", "::1", 11434, "http://[::1]:11434"),
        ("http://a.b", "a.b", 80, "http://a.b:80"),
        ("https://a.b/c/", "a.b", 443, "https://a.b:443/c"),
        ("a.b:99999", "a.b", 11434, "http://a.b:11434"),
        ("ollama.com", "ollama.com", 443, "https://ollama.com:443"),
        (' "localhost:9" ', "localhost", 9, "http://localhost:9"),
    ],
)
def test_the_forms_of_host(text: str, host: str, port: int, url: str) -> None:
    found = load(OLLAMA_HOST=text)
    assert (found.listen_host, found.listen_port, found.base_url) == (host, port, url)


def test_ours_wins_over_theirs() -> None:
    found = load(OLLAMA_HOST="a:1", CORRAL_HOST="b:2", OLLAMA_MODELS="/x", CORRAL_MODELS="/y")
    assert (found.listen_host, str(found.models)) == ("b", "/y")


def test_the_key_of_a_cloud_account_is_not_our_key() -> None:
    assert load(OLLAMA_API_KEY="secret").api_key == ""
    assert load(CORRAL_API_KEY="secret").api_key == "secret"


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("100", 100), ("2k", 2000), ("1.5GB", 1_500_000_000), ("1 GiB", 1 << 30), ("3mb", 3_000_000)],
)
def test_sizes(text: str, size: int) -> None:
    assert load(CORRAL_PROMPT_CACHE=text).prompt_cache_bytes == size


def test_a_size_that_is_none_keeps_the_default() -> None:
    found = load(CORRAL_PROMPT_CACHE="much", XDG_CACHE_HOME="/c")
    assert found.prompt_cache_bytes == 256_000_000
    assert found.prompt_cache == Path("/c/corral/sequences")
    assert "PROMPT_CACHE" in found.warnings[0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300.0), ("90", 90.0), ("-1", FOREVER), ("0", 0.0), ("1h30m", 5400.0)]
)
def test_keep_alive(text: str, seconds: float) -> None:
    assert load(OLLAMA_KEEP_ALIVE=text).keep_alive_s == seconds


def test_what_cannot_be_read_keeps_its_default_and_is_named() -> None:
    found = load(OLLAMA_KEEP_ALIVE="soon", OLLAMA_MAX_QUEUE="many", OLLAMA_KV_CACHE_TYPE="q9", OLLAMA_HOST="a:x")
    assert (found.keep_alive_s, found.max_queue, found.kv_cache_type, found.listen_port) == (300.0, 512, "f16", 11434)
    assert len(found.warnings) == 4


@pytest.mark.parametrize(("text", "value"), [("1", True), ("yes", True), ("false", False), ("0", False)])
def test_flags_take_what_go_takes_and_anything_else_for_true(text: str, value: bool) -> None:
    assert load(OLLAMA_NOPRUNE=text).no_prune is value


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), (5, 5.0), (1.5, 1.5), (-1, FOREVER), ("5m0s", 300.0), ("-1m", FOREVER), ("0", 0.0)],
)
def test_keep_alive_of_a_request(value: object, seconds: float | None) -> None:
    assert parse_keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1", 'time: missing unit in duration "-1"'),
        ("soon", 'time: invalid duration "soon"'),
        ([], "Unsupported type: '[]interface {}'"),
        (True, "Unsupported type: 'bool'"),
    ],
)
def test_bad_keep_alive_of_a_request(value: object, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_keep_alive(value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("on", True), ("0", False), ("off", False), ("false", False), ("auto", None), ("", None)],
)
def test_flash_attention(text: str, value: bool | None) -> None:
    assert load(OLLAMA_FLASH_ATTENTION=text).flash_attention is value


@pytest.mark.parametrize("text", ["q8_0", "q4_0", "bf16", "iq4_nl", "q8_0,f16"])
def test_types_of_the_cache(text: str) -> None:
    found = load(OLLAMA_KV_CACHE_TYPE=text.upper())
    assert (found.kv_cache_type, found.warnings) == (text, ())


def test_a_cache_that_needs_flash_attention_where_that_is_off_is_given_up_with_a_warning() -> None:
    found = load(OLLAMA_KV_CACHE_TYPE="q8_0", OLLAMA_FLASH_ATTENTION="0")
    assert found.kv_cache_type == "f16"
    assert "FLASH_ATTENTION" in found.warnings[0]
    keys_alone = load(OLLAMA_KV_CACHE_TYPE="q8_0,f16", OLLAMA_FLASH_ATTENTION="0")
    assert (keys_alone.kv_cache_type, keys_alone.warnings) == ("q8_0,f16", ())


def test_load_options_for_all_models() -> None:
    found = load(
        CORRAL_NUM_GPU="20",
        CORRAL_USE_MMAP="false",
        CORRAL_SPLIT_MODE="row",
        CORRAL_TENSOR_SPLIT="3,1",
        CORRAL_OVERRIDE_TENSOR="attn=CPU, ffn=CUDA0",
        CORRAL_NUM_CPU_MOE="-1",
        OLLAMA_SCHED_SPREAD="1",
        OLLAMA_NUM_BATCH="7",
    )
    assert found.warnings == ()
    assert found.sched_spread
    assert found.load_options == {
        "num_gpu": 20,
        "use_mmap": False,
        "split_mode": "row",
        "tensor_split": "3,1",
        "override_tensor": ["attn=CPU", "ffn=CUDA0"],
        "num_cpu_moe": -1,
    }


def test_bad_load_options_are_passed_over_and_named() -> None:
    found = load(CORRAL_NUM_GPU="all", CORRAL_SPLIT_MODE="sideways", CORRAL_OVERRIDE_TENSOR="ffn", CORRAL_NUM_BATCH="9")
    assert found.load_options == {"num_batch": 9}
    assert [warning.split()[1] for warning in found.warnings] == ["NUM_GPU", "SPLIT_MODE", "OVERRIDE_TENSOR"]


def test_every_load_option_is_listed() -> None:
    listed = {variable.name for variable in VARIABLES}
    assert {"NUM_UBATCH", "NUM_CPU_MOE", "USE_MLOCK", "SCHED_SPREAD"} <= listed
    assert "NUM_CTX" not in listed
    assert len(listed) == len(VARIABLES)


def test_registries_and_how_fast_to_fetch() -> None:
    found = load(
        CORRAL_REGISTRY="http://10.0.0.5:5000/",
        CORRAL_MIRRORS="registry.ollama.ai=http://mirror:5000, hf.co=other.example, nonsense, a=ftp://b",
        CORRAL_LIMIT_RATE="10MB",
    )
    assert found.registries.default == "http://10.0.0.5:5000"
    assert found.registries.mirrors == (
        Mirror("registry.ollama.ai", "http://mirror:5000"),
        Mirror("hf.co", "https://other.example"),
    )
    assert found.limit_rate == 10_000_000
    assert [warning.split(",")[0] for warning in found.warnings] == [
        "invalid MIRRORS 'nonsense'",
        "invalid MIRRORS 'ftp://b'",
    ]


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({"OLLAMA_PORT": "9"}, 9),
        ({"OLLAMA_PORT": "9", "OLLAMA_HOST": "0.0.0.0"}, 9),
        ({"OLLAMA_PORT": "9", "OLLAMA_HOST": "a:7"}, 7),
        ({"OLLAMA_PORT": "9", "CORRAL_PORT": "8"}, 8),
        ({"OLLAMA_PORT": "9", "OLLAMA_HOST": "http://a"}, 80),
        ({"OLLAMA_PORT": "99999"}, 11434),
        ({"OLLAMA_PORT": "-1"}, 11434),
    ],
)
def test_the_port_alone(environ: dict[str, str], port: int) -> None:
    found = load(**environ)
    assert found.listen_port == port
    assert len(found.warnings) == (environ["OLLAMA_PORT"] in {"99999", "-1"})


@pytest.mark.parametrize(
    ("text", "level"),
    [("1", 1), ("true", 1), ("2", 2), ("-1", -1), ("0", 0), ("false", 0), ("yes", 1), ("--1", 1), ("", 0)],
)
def test_how_much_is_logged(text: str, level: int) -> None:
    assert load(OLLAMA_DEBUG=text).debug == level


@pytest.mark.parametrize(("text", "seconds"), [("0", FOREVER), ("-5m", FOREVER), ("90", 90.0), ("", 300.0)])
def test_how_long_a_load_may_stand_still(text: str, seconds: float) -> None:
    assert load(OLLAMA_LOAD_TIMEOUT=text).load_timeout_s == seconds


@pytest.mark.parametrize("text", ["1_000", "+5", "-5", "0x10", "5.0", "²", "18446744073709551616"])
def test_what_is_no_unsigned_decimal_keeps_the_default(text: str) -> None:
    found = load(OLLAMA_MAX_QUEUE=text)
    assert found.max_queue == 512
    assert found.warnings == (f"invalid MAX_QUEUE {text!r}, using 512",)


def test_every_variable_of_ollamas_that_does_something_here() -> None:
    found = load(
        OLLAMA_GPU_OVERHEAD="1073741824",
        OLLAMA_GO_TEMPLATE="0",
        OLLAMA_EDITOR=" 'vim -n' ",
        OLLAMA_DEBUG_LOG_REQUESTS="1",
        OLLAMA_NUM_PARALLEL="100000",
        OLLAMA_MAX_LOADED_MODELS="0",
    )
    assert (found.gpu_overhead, found.go_template, found.editor, found.log_requests) == (2**30, False, "vim -n", True)
    assert (found.num_parallel, found.max_loaded_models, found.warnings) == (256, 0, ())


def test_old_names_are_taken_with_one_note() -> None:
    found = load(OLLAMA_TMPDIR="/x", OLLAMA_NEW_ENGINE="1", OLLAMA_VULKAN="1", OLLAMA_API_KEY="x")
    assert found.warnings == ("no effect here: OLLAMA_NEW_ENGINE, OLLAMA_TMPDIR, OLLAMA_VULKAN",)


def test_a_slip_in_a_name_is_told() -> None:
    found = load(CORRAL_KEEPALIVE="5m", CORRAL_BENCH_JSON="x")
    assert found.warnings == ("CORRAL_KEEPALIVE is no setting; CORRAL_KEEP_ALIVE is",)


def test_who_turned_models_elsewhere_off(tmp_path: Path) -> None:
    def source(**environ: str) -> str:
        return settings.load(environ, tmp_path).cloud_source

    assert (source(), source(OLLAMA_NO_CLOUD="1"), source(OLLAMA_NO_CLOUD="0")) == ("config", "env", "config")
    (tmp_path / ".ollama").mkdir()
    file = tmp_path / ".ollama" / "server.json"
    for text, told in (
        ('{"disable_ollama_cloud": true}', "both"),
        ('{"disable_ollama_cloud": 1}', "env"),
        ("[", "env"),
    ):
        file.write_text(text)
        assert source(OLLAMA_NO_CLOUD="1") == told


def test_https_by_a_certificate() -> None:
    found = load(CORRAL_TLS_CERT="/c.pem", CORRAL_HOST="0.0.0.0:9")
    assert (found.base_url, found.trusted) == ("https://127.0.0.1:9", Path("/c.pem"))
    assert load(CORRAL_TLS_CERT="/c.pem", CORRAL_TLS_CA="/ca.pem").trusted == Path("/ca.pem")


def test_where_other_tools_keep_their_models() -> None:
    tools = [(one.tool, str(one.path)) for one in load().gguf_folders]
    assert tools == [
        ("hf-cache", "/home/someone/.cache/huggingface/hub"),
        ("lmstudio", "/home/someone/.lmstudio/models"),
        ("lmstudio", "/home/someone/.cache/lm-studio/models"),
        ("llama.cpp", "/home/someone/.cache/llama.cpp"),
    ]
    moved = load(HF_HOME="/hf", LLAMA_CACHE="/ll", CORRAL_GGUF_FOLDERS="~/g:/h").gguf_folders
    assert [str(one.path) for one in moved[:3]] == ["/home/someone/g", "/h", "/hf/hub"]
    assert load(CORRAL_DISCOVER="0", CORRAL_GGUF_FOLDERS="/h").gguf_folders == (GgufFolder("gguf", Path("/h")),)


def test_folders_and_further_names_of_models() -> None:
    found = load(CORRAL_MODELS_EXTRA="/a:~/b", CORRAL_ALIASES="gpt-4 = smollm2, x=, gpt-4=gpt-4:latest")
    assert found.models_extra == (Path("/a"), HOME / "b")
    assert found.aliases == {"gpt-4": "smollm2"}
    assert len(found.warnings) == 2


def test_who_we_are_at_hugging_face() -> None:
    hub = load(HUGGING_FACE_HUB_TOKEN="old", HF_TOKEN="new", HF_ENDPOINT="https://mirror.example/").registries.hub
    assert (hub.token, hub.url, hub.token_file) == (
        "new",
        "https://mirror.example",
        HOME / ".cache" / "huggingface" / "token",
    )
    assert "new" not in repr(hub)


def test_servers_elsewhere_and_their_keys() -> None:
    found = load(
        OLLAMA_REMOTES="10.0.0.5, gpu:8000",
        CORRAL_REMOTE_KEYS="10.0.0.5=a=b, GPU:8000=c, nonsense",
        OLLAMA_REMOTE_KEYS="x=y",
        CORRAL_RPC_SERVERS="10.0.0.7:50052",
    )
    assert found.remotes == ("10.0.0.5", "gpu:8000")
    assert found.remote_keys == (("10.0.0.5", "a=b"), ("gpu:8000", "c"))
    assert found.rpc_servers == ("10.0.0.7:50052",)
    assert found.warnings == ("invalid REMOTE_KEYS, passing over a part: it is written host=key",)
    assert "a=b" not in repr(found)
    assert "a secret" not in repr(load(CORRAL_API_KEY="a secret"))
