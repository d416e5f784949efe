"""The console's HTML page, its style sheet and its script: no third party, no build step, no inline handler."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Final

__all__ = ["SCRIPT", "STYLE", "document", "live_page"]

# A box that reads from the right begins scrolled to its right end: a narrow screen shows the newest minutes first.
STYLE: Final = """\
:root{color-scheme:light dark;--ground:#fff;--text:#1c2330;--soft:#5b6577;--rule:#d9dee7;--card:#f6f8fb;
--pk-ok:#2e9e5b;--pk-bad:#d1453b;--pk-warn:#c47a14;--pk-idle:#8a94a6;--pk-info:#3b7dd1;--pk-other:#8e5bd1;
--ok:#1a7340;--bad:#b3332a;--warn:#8a5200;--other:#7440bd}
@media(prefers-color-scheme:dark){:root{--ground:#12161d;--text:#e6eaf1;--soft:#9aa5b8;--rule:#2c3442;--card:#1a202a;
--pk-ok:#43bd74;--pk-bad:#ee6b61;--pk-warn:#e5a342;--pk-info:#68a1ec;--pk-other:#ab80e6;
--ok:#43bd74;--bad:#f0857c;--warn:#e5a342;--other:#b794e6}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1040px;padding:12px 16px 40px;background:var(--ground);color:var(--text);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:20px;margin:4px 0}h2{font-size:16px;margin:28px 0 8px}
p{margin:6px 0;color:var(--soft)}
.wide{overflow-x:auto;border:1px solid var(--rule);border-radius:8px;background:var(--card);margin:8px 0}
.chart{direction:rtl}.chart>*{direction:ltr}
.wide:focus-visible{outline:2px solid var(--pk-info)}
.wide p{margin:8px 10px 0;font-size:13px}
.wide svg{display:block;width:100%;min-width:600px;height:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:left;border-bottom:1px solid var(--rule);vertical-align:top}
tr:last-child td{border-bottom:0}
th{font-weight:600;color:var(--soft);white-space:nowrap}
td.n,th.n{text-align:right;white-space:nowrap}
td.fields{overflow-wrap:anywhere;min-width:180px;font-family:ui-monospace,monospace;font-size:13px}
b.ok{color:var(--ok)}b.bad{color:var(--bad)}b.warn{color:var(--warn)}b.other{color:var(--other)}
b.idle{color:var(--soft)}
#link{float:right;font-size:13px;color:var(--soft)}
"""

SCRIPT: Final = """\
"use strict";
(() => {
  const main = document.querySelector("main"), link = document.getElementById("link"), base = main.dataset.base;
  let busy = false, again = false;
  const say = (text) => { link.textContent = text; };
  const load = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(base + "/fragment", {cache: "no-store", redirect: "error"});
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      const left = [...main.querySelectorAll(".wide")].map((each) => each.scrollLeft);
      main.innerHTML = text;
      main.querySelectorAll(".wide").forEach((each, at) => { each.scrollLeft = left[at] || 0; });
      say("live");
    } catch (error) { say("not connected"); }
    busy = false;
    if (again) { again = false; load(); }
  };
  const source = new EventSource(base + "/changes");
  source.addEventListener("changed", load);
  source.onerror = () => say("not connected");
  setInterval(load, 15000);
})();
"""


def live_page(fragment: str, base: str) -> str:
    """Return the page that keeps itself current: by its script, or every 15 s without one.

    Args:
        fragment: the HTML of the sections.
        base: path of the console, without a slash at its end.
    """
    where = escape(base, quote=True)
    head = (
        f'<link rel="stylesheet" href="{where}/console.css"><script src="{where}/console.js" defer></script>'
        '<noscript><meta http-equiv="refresh" content="15"></noscript>'
    )
    return _page(
        head,
        '<header><span id="link" role="status"></span><h1>Console</h1></header>'
        f'<main data-base="{where}">{fragment}</main>',
    )


def document(fragment: str, title: str) -> str:
    """Return a page in one file, without a script.

    Args:
        fragment: the HTML of the sections.
        title: its heading, such as the name of the recording.
    """
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{STYLE}</style>'
    return _page(head, f"<header><h1>{escape(title)}</h1></header><main>{fragment}</main>")


def _page(head: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>Console</title>{head}</head><body>{body}</body></html>\n"
    )
