"""What the routes of looking after a service read."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from corral.api.body import WireModel


class ModelBody(WireModel):
    """A request about one model."""

    model: str = ""


class PlanPullBody(WireModel):
    """`POST /api/plan/pull`."""

    model: str = ""
    insecure: bool = False


class ModelsBody(WireModel):
    """A request about several models."""

    models: list[str] = Field(default_factory=list)


class VerifyBody(WireModel):
    """`POST /api/verify`."""

    model: str = ""
    stream: bool = True


class PinBody(WireModel):
    """`POST /api/pin`."""

    model: str = ""
    pinned: bool = True


class SettingBody(WireModel):
    """`POST /api/config`: a setting's name and value as the file writes it; "" takes back what was set so."""

    go_name: ClassVar[str] = "Setting"
    name: str = ""
    value: str = ""
