from __future__ import annotations

import pytest

from corral.store.lint import Finding, ParameterRules, Severity, lint


def check(name: str, text: str) -> str | None:
    return None if text.lstrip("-").replace(".", "", 1).isdigit() or name == "stop" else f"invalid float value [{text}]"


RULES = ParameterRules(known=("temperature", "top_k", "stop"), check=check, deprecated=("mirostat",))


def test_a_good_file_has_no_findings() -> None:
    text = 'FROM x\nPARAMETER stop a\nPARAMETER stop b\nTEMPLATE "{{ .System }}{{ .Prompt }}"\nSYSTEM hi\n'
    assert lint(text, RULES) == ()


@pytest.mark.parametrize(
    ("text", "severity", "line", "column", "message"),
    [
        ("", Severity.ERROR, 1, 1, "no FROM line: the file is empty"),
        ("SYSTEM hi", Severity.ERROR, 1, 1, "no FROM line"),
        ("FROM x\nWHAT y", Severity.ERROR, 2, 1, "command must be one of"),
        ("FROM ", Severity.ERROR, 1, 1, "FROM needs"),
        ("FROM x\n PARAMETER temprature 1", Severity.ERROR, 2, 2, "did you mean temperature?"),
        ("FROM x\nPARAMETER xyzzy 1", Severity.ERROR, 2, 1, "unknown parameter 'xyzzy'"),
        ("FROM x\nPARAMETER temperature hot", Severity.ERROR, 2, 23, "invalid float value [hot]"),
        ("FROM x\nPARAMETER mirostat 1", Severity.WARNING, 2, 1, "parameter mirostat is deprecated"),
        ("FROM x\nSYSTEM a\nSYSTEM b", Severity.WARNING, 2, 1, "SYSTEM is set again on line 3"),
        ("FROM x\nPARAMETER top_k 1\nPARAMETER top_k 2", Severity.WARNING, 2, 1, "top_k is set again on line 3"),
        ("FROM x\nTEMPLATE {{ .Prompt", Severity.ERROR, 2, 10, "without its }}"),
        ("FROM x\nTEMPLATE {{ .Prompt }}\nSYSTEM a", Severity.WARNING, 2, 10, "never uses .System"),
        ("FROM x # the base", Severity.WARNING, 1, 6, "# begins a comment only"),
    ],
)
def test_findings(text: str, severity: Severity, line: int, column: int, message: str) -> None:
    (found,) = lint(text, RULES)
    assert isinstance(found, Finding)
    assert (found.severity, found.line, found.column) == (severity, line, column)
    assert message in found.message


def test_lines_that_are_none_hide_no_others() -> None:
    text = 'FROM x\nPARAMTER top_k 1\nSYSTM """a\nROLE b"""\nMESSAGE robot hi\nPARAMETER temperature hot\nXYZ\n'
    found = lint(text, RULES)
    assert [(one.line, one.column) for one in found] == [(2, 1), (3, 1), (5, 1), (6, 23), (7, 1)]
    assert found[0].message == "unknown command 'PARAMTER'; did you mean PARAMETER?"
    assert found[1].message == "unknown command 'SYSTM'; did you mean SYSTEM?"
    assert "message role must be one of" in found[2].message


def test_a_string_without_an_end_leaves_the_rest_unread() -> None:
    assert [one.line for one in lint('FROM x\nWHAT\nSYSTEM """a\nPARAMETER temperature hot\n', RULES)] == [2, 3]


def test_a_text_that_is_no_modelfile_at_all_is_read_to_an_end() -> None:
    assert len(lint("nothing here is a command\n" * 5000, RULES)) == 50
