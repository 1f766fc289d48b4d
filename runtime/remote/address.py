"""Where the engine of a model is that is not here: one server or several, and what the model is called there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from corral.runtime.errors import BadRequest
from corral.runtime.server_address import parse_host
from corral.store.addresses import origin_of
from corral.store.errors import SourceError

MOST_HOSTS = 64
_BASE = "/v1"
"""What clients of OpenAI's API are told of a server ends in it; the paths that are asked have it already."""
_FILES = (".gguf", ".safetensors", ".zip", ".whl")
_HUGGING_FACE = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})


@dataclass(frozen=True, slots=True)
class Remote:
    """`hosts` are the servers' addresses (`http://10.0.0.5:8000`), each able to answer for `model`, its name there."""

    hosts: tuple[str, ...]
    model: str

    @property
    def text(self) -> str:
        """The servers as a config names them."""
        return ",".join(self.hosts)


def parse_hosts(text: str) -> tuple[str, ...]:
    """Read servers, comma separated, as `OLLAMA_HOST` is read: http and port 11434 where nothing else is said. A base
    that ends in `/v1`, as clients of OpenAI's API are told it, is taken for the server itself.

    Raises:
        BadRequest: one is no address, has a path or a user, or there are none or too many.
    """
    hosts = []
    for part in filter(None, map(str.strip, text.split(","))):
        bad: list[str] = []
        url = parse_host(part, bad.append).url.removesuffix(_BASE)
        try:
            origin_of(url)
        except SourceError:
            bad.append(part)
        if bad or not part.isprintable() or urlsplit(url).path or "?" in url or "#" in url:
            raise BadRequest("bad remote")
        hosts.append(url)
    if not 0 < len(hosts) <= MOST_HOSTS:
        raise BadRequest("bad remote")
    return tuple(dict.fromkeys(hosts))


def from_urls(text: str) -> Remote | None:
    """Read what a Modelfile's FROM says: `http://host:port/model`, further servers of that model before it, by commas;
    or `http://host:port/v1/model`.

    None where it names no server: a model, a path, a file to be fetched.

    Raises:
        BadRequest: servers without a model, or with different ones.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.lower().startswith(("http://", "https://")) for part in parts):
        return None
    if any(_is_file(part.lower()) for part in parts):
        return None
    hosts, models = [], []
    for part in parts:
        scheme, _, rest = part.partition("://")
        host, _, path = rest.partition("/")
        if not host:
            raise BadRequest("bad remote")
        hosts.append(f"{scheme.lower()}://{host}")
        path = path.strip("/")
        path = "" if path == "v1" else path.removeprefix("v1/")
        if path:
            models.append(path)
    if len(set(models)) != 1:
        raise BadRequest("a remote model is written http://host:port/model")
    return Remote(parse_hosts(",".join(hosts)), models[0])


def _is_file(url: str) -> bool:
    """Whether an address is one of something to be fetched."""
    place, _, path = url.partition("://")[2].partition("/")
    return place in _HUGGING_FACE or path.partition("?")[0].endswith(_FILES)
