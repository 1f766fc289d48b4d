"""Wheels made by hand, so that each can be wrong in one way."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.store.handmade import Gguf

MEMBER = "tiny_model/Tiny-1K-Instruct.Q4_K_M.gguf"


def record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@dataclass
class Wheel:
    """A wheel of the package `tiny-model`; `record` replaces the RECORD, `more` adds members as they are."""

    model: bytes = field(default_factory=lambda: bytes(Gguf()))
    member: str = MEMBER
    record: str | None = None
    more: dict[str | zipfile.ZipInfo, bytes] = field(default_factory=dict)
    version: str = "1.0"

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        info = f"tiny_model-{self.version}.dist-info"
        files: dict[str, bytes] = {
            "tiny_model/__init__.py": b"",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-model\nVersion: {self.version}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        if self.member:
            files[self.member] = self.model
        rows = [f"{name},{record_hash(data)},{len(data)}" for name, data in files.items()]
        files[f"{info}/RECORD"] = (
            "\n".join([*rows, f"{info}/RECORD,,"]) if self.record is None else self.record
        ).encode()
        path = folder / f"tiny_model-{self.version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in (*files.items(), *self.more.items()):
                archive.writestr(name, data)
        return path
