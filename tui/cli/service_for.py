"""The service that a dialogue or a page is about: one in this process that serves, or one that runs already."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from msgspec import structs

from corral.tui.cli.session import Cli, keep_log_quiet, open_session


@contextlib.contextmanager
def service_for(cli: Cli, host: str | None) -> Generator[tuple[Cli, str], None, None]:
    """Give the command line whose sessions go to the service, and the line that says where that is.

    Raises:
        ServerUnreachable: `host` is given and nothing answers there.
        RunError: nothing can be served, for another reason than that the port is taken.
    """
    from corral.tui.cli.attach import at_host

    if host or cli.connect is not open_session:
        settings = at_host(cli.settings, host) if host else cli.settings
        inner = structs.replace(cli, settings=settings)
        with inner.session():
            pass  # a server that is not there is told before anything is asked
        yield inner, f"Corral at {settings.base_url}."
        return
    from corral.api.errors import PortTaken
    from corral.api.server import Service

    keep_log_quiet()
    service = Service(cli.settings)
    try:
        service.start()
    except PortTaken as taken:
        by = f" ({taken.by})" if taken.by else ""
        yield cli, f"A server runs already at {cli.settings.base_url}{by}: this is about it."
        return
    try:
        yield (
            structs.replace(cli, settings=structs.replace(cli.settings, base_url=service.base_url)),
            f"Corral serves at {service.base_url}.",
        )
    finally:
        service.stop()
