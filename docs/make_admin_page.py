"""Build albkit/admin/page.html, the live page of the admin API, from the files in albkit/admin/source.

    python docs/make_admin_page.py            # write it
    python docs/make_admin_page.py --check    # fail if it is out of date

The page is one file without anything external, so that it works in a closed network and under a strict Content-Security-Policy. It loses
its comments, its indentation and most spaces; names stay what they are in the sources.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "albkit" / "admin"
SOURCE = FOLDER / "source"
PAGE = FOLDER / "page.html"

# What a script is made of, as far as spaces matter. A slash after a name, a number or a closing bracket divides; any other begins a regular
# expression.
_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<kept>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|(?P<template>`))
    |(?P<regex>/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*)
    |(?P<word>[\w$#]+)
    |(?P<line>\s*\n\s*)
    |(?P<space>[ \t]+)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_BEFORE_DIVISION = re.compile(r"[\w$\])}]$")
_WORD = re.compile(r"[\w$#]")


def _template(text: str, start: int) -> tuple[str, int]:
    """The template that begins here, with its expressions squeezed, and the place behind it."""
    done, at = ["`"], start + 1
    while text[at] != "`":
        if text[at] == "\\":
            done.append(text[at : at + 2])
            at += 2
        elif text.startswith("${", at):
            end = _closing_brace(text, at + 2)
            done.append(f"${{{squeeze_script(text[at + 2 : end])}}}")
            at = end + 1
        else:
            done.append(text[at])
            at += 1
    return "".join(done) + "`", at + 1


def _closing_brace(text: str, at: int) -> int:
    """The place of the brace that ends the expression of a template."""
    depth = 0
    while text[at] != "}" or depth:
        if text[at] == "`":
            at = _template(text, at)[1]
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return at


def squeeze_script(text: str) -> str:
    """A script without comments, and without spaces that mean nothing. Line ends stay: some of them end a statement."""
    done: list[str] = []
    at, pending = 0, ""
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"this cannot be read: {text[at : at + 40]!r}")
        if found["regex"] and done and _BEFORE_DIVISION.search(done[-1]) and done[-1] not in ("return", "of", "in"):
            token, at = text[at], at + 1
        elif found["template"]:
            token, at = _template(text, at)
        else:
            # Nothing is assigned twice that is a constant in the sources.
            token, at = "let" if found[0] == "const" else found[0], found.end()
        if found["comment"] or found["space"] or found["line"]:
            pending = "\n" if "\n" in token or pending == "\n" else " "
            continue
        if done and pending:
            before, after = done[-1][-1], token[0]
            both_words = _WORD.match(before) and _WORD.match(after)
            if pending == "\n" and before not in "{,;(":
                done.append("\n")
            elif both_words or before + after in ("++", "--", "+-", "-+"):
                done.append(" ")
        pending = ""
        done.append(token)
    return "".join(done)


def squeeze_style(text: str) -> str:
    """A style sheet with one line for each line of the source, without comments and needless spaces."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(re.sub(r" ?([{},;]) ?", r"\1", re.sub(r": ", ":", line)).replace(";}", "}") for line in lines)


def squeeze_markup(text: str) -> str:
    """Markup without indentation."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def build() -> str:
    """The whole page."""
    style = squeeze_style((SOURCE / "style.css").read_text(encoding="utf-8"))
    scripts = "".join(path.read_text(encoding="utf-8") for path in sorted(SOURCE.glob("*.js")))
    script = squeeze_script(f'"use strict";\n(() => {{\n{scripts}}})();\n')
    markup = squeeze_markup((SOURCE / "page.html").read_text(encoding="utf-8"))
    for mark, content in (("<style></style>", style), ("<script></script>", script)):
        before, found, after = markup.partition(mark)
        if not found:
            raise ValueError(f"the markup has no {mark}")
        element = mark[1:].partition(">")[0]
        markup = f"{before}<{element}>\n{content}\n</{element}>{after}"
    return markup + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    options = parser.parse_args(arguments)
    page = build()
    if not options.check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write(f"{PAGE.name} is not up to date: run python docs/make_admin_page.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
