"""Renders chat templates by Hugging Face's own code: run by itself, with `transformers` on its path, JSON in and out.

It reads {"templates": [...], "cases": [{"messages", "tools", "variables"}]} and writes, for every template, what it
makes of every case.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template


def rendered(template: str, case: dict[str, Any]) -> dict[str, str]:
    """Return the text a template makes, or the error it ends with."""
    try:
        (text,), _ = render_jinja_template(
            [case["messages"]],
            tools=case["tools"],
            chat_template=template,
            add_generation_prompt=True,
            **case["variables"],
        )
    except Exception as error:  # a stranger's template may raise anything
        return {"text": "", "error": str(error) or type(error).__name__}
    return {"text": text, "error": ""}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump([[rendered(one, case) for case in asked["cases"]] for one in asked["templates"]], sys.stdout)
