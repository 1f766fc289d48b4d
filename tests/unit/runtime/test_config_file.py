"""`config.toml`: what it says, what of it is a mistake, and on which line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.config_file import config_path, read_config
from corral.runtime.durations import FOREVER
from corral.runtime.model_tables import ModelTable
from corral.runtime.settings import Settings, load

HOME = Path("/home/someone")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def settings(file: Path, text: str, **environ: str) -> Settings:
    file.write_text(text)
    file.chmod(0o600)
    return load({"CORRAL_CONFIG": str(file), **environ}, HOME)


def test_the_file_has_the_names_of_the_environment_in_lower_case(file: Path) -> None:
    found = settings(
        file,
        """
        host = "0.0.0.0:9"
        models_folder = "/models"
        keep_alive = -1
        load_timeout = "2m"
        max_queue = 7
        no_prune_is_not_a_setting = 1
        noprune = true
        debug = 2
        flash_attention = false
        prompt_cache = "1GB"
        gpu_overhead = 1_000_000
        origins = ["http://a", "http://b"]
        api_key = ["one", "two"]
        use_mmap = false
        override_tensor = ["attn=CPU", "ffn=CUDA0"]
        """,
    )
    assert found.faults == ()
    assert (found.listen_host, found.listen_port, found.models) == ("0.0.0.0", 9, Path("/models"))
    assert (found.keep_alive_s, found.load_timeout_s, found.max_queue, found.debug) == (FOREVER, 120.0, 7, 2)
    assert (found.no_prune, found.flash_attention) == (True, False)
    assert (found.prompt_cache_bytes, found.gpu_overhead) == (10**9, 10**6)
    assert (found.origins, found.api_keys) == (("http://a", "http://b"), ("one", "two"))
    assert found.load_options == {"use_mmap": False, "override_tensor": ["attn=CPU", "ffn=CUDA0"]}
    assert found.config == file


def test_the_environment_wins_over_the_file(file: Path) -> None:
    text = 'keep_alive = "1m"\nmax_queue = 7\n'
    found = settings(file, text, OLLAMA_KEEP_ALIVE="2m", CORRAL_MAX_QUEUE="8")
    assert (found.keep_alive_s, found.max_queue) == (120.0, 8)


def test_where_the_file_is() -> None:
    assert config_path({}, HOME) == HOME / ".config" / "corral" / "config.toml"
    assert config_path({"XDG_CONFIG_HOME": "/x"}, HOME) == Path("/x/corral/config.toml")
    assert config_path({"XDG_CONFIG_HOME": "/x", "CORRAL_CONFIG": " '/y.toml' "}, HOME) == Path("/y.toml")


def test_a_file_nobody_named_may_be_missing(tmp_path: Path) -> None:
    assert load({}, tmp_path).faults == ()
    named = load({"CORRAL_CONFIG": str(tmp_path / "none")}, tmp_path)
    assert named.faults == (f"{tmp_path / 'none'}: No such file or directory",)


def test_the_file_in_its_place_is_read(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "corral"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("max_queue = 3")
    assert load({}, tmp_path).max_queue == 3


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("max_queue = 3\nnoprune = 'yes'", 2, "noprune must be true or false"),
        ("\n\nmax_queue = true", 3, "max_queue must be a whole number"),
        ("max_queue = -3", 1, "invalid MAX_QUEUE '-3', using 512"),
        ("\nkeep_alive = 'soon'", 2, "invalid KEEP_ALIVE 'soon'"),
        ("origins = [1]", 1, "origins must be a text, or a list of texts"),
        ("host = 'a:x'", 1, "invalid port 'x'"),
        ("num_gpu = 1\nsplit_mode = 'sideways'", 2, "invalid SPLIT_MODE"),
        ("mirrors = 'a'", 1, "invalid MIRRORS 'a'"),
        ("x = \n", 1, "Invalid value"),
        ("x = 1\nx = 2\n", 2, "Cannot overwrite a value"),
        ("x = {", 1, "at end of document"),
        ("[models]\nqwen3 = 'x'", 2, "a model has a table"),
        ("[models.'a b']\npinned = true", 1, "'a b' is no name of a model"),
        ("[models.qwen3]\n\npinned = 1", 3, "pinned must be true or false"),
        ('[models."qwen3:8b"]\nnum_ctx = "big"', 2, 'option "num_ctx" must be of type integer'),
        ("[models.qwen3]\nkeep_alive = 'soon'", 2, "keep_alive must be seconds"),
        ("[models.qwen3]\nnum_parallel = 0", 2, "num_parallel must be a whole number from 1"),
        ("[models.qwen3]\ngpu = 'all'", 2, "gpu must be a whole number from 0"),
        ("models.qwen3.pinned = 3", 1, "pinned must be true or false"),
    ],
)
def test_a_mistake_is_named_with_its_line(file: Path, text: str, line: int, words: str) -> None:
    found = settings(file, text)
    assert len(found.faults) == 1
    assert found.faults[0].startswith(f"{file}:{line}: ")
    assert words in found.faults[0]


def test_a_mistake_in_the_environment_is_none_of_the_file(file: Path) -> None:
    found = settings(file, "max_queue = 3", OLLAMA_MAX_QUEUE="many")
    assert found.faults == ()
    assert found.warnings == ("invalid MAX_QUEUE 'many', using 512",)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("\nkeepalive = 3", "2: keepalive is not known and means nothing; did you mean keep_alive?"),
        ("xyzzy = 3", "1: xyzzy is not known and means nothing"),
        ("config = '/x'", "1: config is not known and means nothing"),
        ("[models.qwen3]\npined = true", "2: pined is not known and means nothing; did you mean pinned?"),
        ("[zone]\nhost = 'a'", "1: zone is not known and means nothing"),
    ],
)
def test_what_is_not_known_is_told_with_the_nearest_name(file: Path, text: str, warning: str) -> None:
    found = settings(file, text)
    assert found.faults == ()
    assert found.warnings == (f"{file}:{warning}",)


def test_a_key_that_others_can_read_is_told_of(file: Path) -> None:
    assert settings(file, "api_key = 'x'").warnings == ()
    file.chmod(0o644)
    warnings = load({"CORRAL_CONFIG": str(file)}, HOME).warnings
    assert warnings == (f"{file}:1: others can read the file and the key in it; chmod 600 it",)


def test_tables_of_models(file: Path) -> None:
    found = settings(
        file,
        """
        [models.qwen3]
        pinned = true
        preload = true
        num_parallel = 2
        num_ctx = 8192
        temperature = 0.1
        gpu = 1

        [models."hf.co/user/Repo:Q4"]
        keep_alive = 90
        tensor_split = "3,1"
        """,
    )
    assert found.faults == found.warnings == ()
    options = {"main_gpu": 1, "split_mode": "none", "num_ctx": 8192, "temperature": 0.1}
    assert found.model_tables == {
        "qwen3:latest": ModelTable(None, True, True, 2, options),
        "hf.co/user/repo:q4": ModelTable(90.0, options={"tensor_split": "3,1"}),
    }
    assert [table.stays_s for table in found.model_tables.values()] == [FOREVER, 90.0]


def test_what_is_no_file_of_text_is_told(file: Path) -> None:
    file.write_bytes(b"x = 1\ny = '\xff'")
    assert read_config(file).faults == (f"{file}:2: no UTF-8",)
    file.write_bytes(b"#" * (1 << 20) + b"#")
    assert read_config(file).faults == (f"{file}: larger than 1 MiB",)


@given(st.text(alphabet=st.sampled_from("abmodels.\"'[]{}=,#\n _1é"), max_size=60))
def test_any_text_is_read_or_named_as_a_mistake(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text)
    found = read_config(file)
    assert all(one.startswith(str(file)) for one in (*found.faults, *found.warnings))


def test_aliases_and_folders(file: Path) -> None:
    text = 'models_extra = ["/a", "~/b"]\ngguf_folders = "/c"\ndiscover = false\n[aliases]\ngpt-4 = "smollm2"\n'
    found = settings(file, text)
    assert found.faults == ()
    assert (found.models_extra, found.aliases) == ((Path("/a"), HOME / "b"), {"gpt-4": "smollm2"})
    assert [one.path for one in found.gguf_folders] == [Path("/c")]
    assert settings(file, text, CORRAL_ALIASES="a=b").aliases == {"a": "b"}
    assert settings(file, "[aliases]\n\n'a b' = 'c'").faults[0].startswith(f"{file}:1: invalid ALIASES")
    assert settings(file, "[aliases]\nx = 1").faults == (f"{file}:1: aliases must be a table of texts",)
