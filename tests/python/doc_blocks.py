"""The code blocks of README.md and docs/*.md, taken from the pages themselves.

test_docs.py runs those in Python and the shell commands; test_consumer.py builds and runs those in
C++, which :func:`write_cpp_blocks` joins in one program. Every block runs as it stands: a block in
Python sees those above it on its page, and nothing else is supplied.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r"#include .*")


class Block(NamedTuple):
    page: Path
    line: int
    """Where its text begins in the page, from 1."""
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(language: Optional[str] = None, pages: list[Path] = PAGES) -> list[Block]:
    """The fenced blocks of the pages, in order: all, or those in one language."""
    found = []
    for page in pages:
        content = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(content):
            line = content.count("\n", 0, match.start(2)) + 1
            found.append(Block(page, line, *match.groups()))
    return [block for block in found if language in (None, block.language)]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _as_function(name: str, block: Block) -> str:
    """The block in a function, its includes left blank: errors name the line in the page."""
    body = _INCLUDE.sub("", block.text)
    return f'void {name}() {{\n#line {block.line} "{block.page.name}"\n{body}}}\n'


def write_cpp_blocks(target: Path) -> None:
    """Writes a C++ program that runs every C++ block of the pages, each in its own function."""
    found = blocks("cpp")
    includes = sorted({line for block in found for line in _INCLUDE.findall(block.text)})
    functions = {f"block_{i}": block for i, block in enumerate(found)}
    parts = [
        "// The C++ blocks of README.md and docs/*.md, as tests/python/doc_blocks.py finds them.",
        "\n".join(includes) + "\n",
        *(_as_function(name, block) for name, block in functions.items()),
        "int main() {\n" + "".join(f"  {name}();\n" for name in functions) + "}\n",
    ]
    target.write_text("\n".join(parts), encoding="utf-8")
