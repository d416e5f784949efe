"""Answers are Markdown from a model: rendered without raw HTML, then cleaned by an allow-list."""

from __future__ import annotations

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

__all__ = ["Growth", "growing", "render"]

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
_TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


def render(text: str) -> Markup:
    """HTML that runs nothing and loads nothing: no images, no raw HTML, links only to http, https and mailto."""
    html = nh3.clean(
        _MARKDOWN.render(text),
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(html)  # noqa: S704 - cleaned in the line above


def growing(text: str) -> tuple[Markup, str]:
    """The finished paragraphs of a text that still grows, rendered, and the rest as it is."""
    cut = _finished(text)
    return render(text[:cut]), text[cut:]


class Growth:
    """A text that grows in one stream: its finished paragraphs are rendered and sent once, not at each step."""

    def __init__(self) -> None:
        self._cut = -1

    @property
    def new(self) -> bool:
        """True until the first step."""
        return self._cut < 0

    def step(self, text: str) -> dict[str, str]:
        """What the page needs to show `text`: ``rest``, and ``done`` when there is more of it than before."""
        cut = _finished(text)
        found = {"rest": text[cut:]}
        if cut != self._cut:
            self._cut = cut
            found["done"] = render(text[:cut])
        return found


def _finished(text: str) -> int:
    """The end of the last empty line that is not within a code block: what stands before it renders alike later."""
    cut = at = 0
    fenced = False
    for line in text.splitlines(keepends=True):
        at += len(line)
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not line.strip() and not fenced:
            cut = at
    return cut
