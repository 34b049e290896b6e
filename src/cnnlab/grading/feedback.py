"""What students and teachers read after grading: a page for each submission, and one of all of them.

A page is one HTML file that needs no other: its style stands in it, it has no script, and its content
security policy forbids scripts and requests. So it can be sent by mail, put into a learning management system
or opened from a disk. All that comes from a submission goes through `printable` and is escaped.
"""

from collections import Counter
from collections.abc import Iterable
from html import escape

from cnnlab.exercises.report import markup
from cnnlab.grading.results import STATUSES, Mark, Result, plain, printable
from cnnlab.i18n import speaking, text

SYMBOLS = {"full": "✓", "partial": "△", "none": "✗"}
_LONGEST_NAME = 160
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(result: Result, lang: str) -> str:
    """The page with the score, the criteria and the hints of one submission.

    Parameters
    ----------
    result : Result
    lang : str
        The reader's language, such as ``"ja"``.

    Returns
    -------
    str
        A whole HTML document.

    Raises
    ------
    ValueError
        If there is no catalogue for `lang`.
    """
    with speaking(lang):
        task = text("exercises.alexnet.my_alexnet.title")
        body = (
            f"<main><header><p class=task>{markup(task)}</p><h1>{_words('heading')}</h1>"
            f"<p class=name>{_unseen('file')}<bdi>{_name(result)}</bdi></p></header>"
            f"{_verdict(result)}{_marks(result.marks)}{_trace(result)}</main>"
        )
        title = f"{plain(result.score)} / {result.max_score} · {_name(result)} · {escape(task)}"
        return _document(lang, title, body)


def index(results: Iterable[Result], lang: str) -> str:
    """The teacher's page: how the class did, and a table of all submissions that leads to their pages.

    Parameters
    ----------
    results : iterable of Result
        In the order of the table. The page of each is expected beside this one, as ``<id>.html``.
    lang : str
        The reader's language, such as ``"ja"``.

    Returns
    -------
    str
        A whole HTML document.

    Raises
    ------
    ValueError
        If there is no catalogue for `lang`.
    """
    results = list(results)
    with speaking(lang):
        task = text("exercises.alexnet.my_alexnet.title")
        heading = text("grading.feedback.overview")
        body = (
            f"<main class=wide><header><p class=task>{markup(task)}</p><h1>{escape(heading)}</h1></header>"
            f"{_summary(results)}{_distribution(results)}{_submissions(results)}</main>"
        )
        return _document(lang, f"{escape(heading)} · {escape(task)}", body)


# --- one submission -------------------------------------------------------------------------------------


def _verdict(result: Result) -> str:
    """The score, and in words what it means or why there is none, and what to do next."""
    share = 100 * result.score / result.max_score
    score = (
        f"<p class=score>{_unseen('score')}<strong>{plain(result.score)}</strong> / {result.max_score}</p>"
        f"<p class=status>{_status(result.status)}</p>"
        f'<div class=meter aria-hidden=true><i style="width:{share:.4g}%"></i></div>'
    )
    said = [f"<p class=said>{_sentence(result)}</p>"]
    if result.message is not None:
        title = f"<strong>{_words('details')}</strong> " if result.status != "graded" else ""
        said.append(f"<p class=details>{title}{markup(result.message.text())}</p>")
    if result.status != "graded":
        advice = markup(text(f"grading.feedback.next_{result.status}"))
        said.append(f"<h2>{_words('next')}</h2><p class=next>{advice}</p>")
    kind = "all" if share >= 100 else "some" if result.score > 0 else "no"
    return f'<section class="verdict {kind}">{score}{"".join(said)}</section>'


def _sentence(result: Result) -> str:
    if result.status != "graded":
        return markup(text(f"grading.messages.{result.status}"))
    if result.score >= result.max_score:
        return _words("all_right")
    if result.score > 0:
        reached = sum(mark.reached == "full" for mark in result.marks)
        return escape(text("grading.feedback.some_right", reached=reached, total=len(result.marks)))
    # A message says why there are no points whatever the criteria are.
    return _words("none_right" if result.message is None else "not_counted")


def _marks(marks: tuple[Mark, ...]) -> str:
    if not marks:
        return ""
    heads = "".join(
        f"<th scope=col class={name}>{_words(name)}</th>" for name in ("mark", "criterion", "points")
    )
    rows = "".join(map(_row, marks))
    return f"<table class=marks><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _row(mark: Mark) -> str:
    hints = "".join(f"<p class=hint>{markup(hint.text())}</p>" for hint in mark.hints)
    return (
        f"<tr class={mark.reached}><td class=mark><span aria-hidden=true>{SYMBOLS[mark.reached]}</span>"
        f"<span class=unseen>{_words(mark.reached)}</span></td>"
        f"<td class=criterion><p>{markup(mark.text())}</p>{hints}</td>"
        f"<td class=points>{plain(mark.points)}<span class=of> / {mark.max_points}</span></td></tr>"
    )


def _trace(result: Result) -> str:
    """What an appeal needs."""
    trace = text(
        "grading.feedback.trace",
        seed=result.seed,
        digest=result.digest[:16],
        seconds=plain(result.seconds, 1),
    )
    return f"<footer><p>{_words('questions')}</p><p class=trace>{escape(trace)}</p></footer>"


# --- all of them ----------------------------------------------------------------------------------------


def _summary(results: list[Result]) -> str:
    counts = Counter(result.status for result in results)
    graded = [result for result in results if result.status == "graded"]
    facts = [(_words("count"), str(len(results)))]
    if graded:
        mean = sum(result.score for result in graded) / len(graded)
        facts.append((_words("mean"), f"{plain(mean, 1)}<span class=of> / {graded[0].max_score}</span>"))
    facts += [(_status(status), str(counts[status])) for status in STATUSES if counts[status]]
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f"<dl class=facts>{shown}</dl>"


def _distribution(results: list[Result]) -> str:
    """Bars for 0–9, 10–19, … 90–99 and 100 percent."""
    shares = [100 * result.score / result.max_score for result in results if result.status == "graded"]
    if not shares:
        return ""
    counts = Counter(10 * int(round(share, 6) // 10) for share in shares)
    highest = max(counts.values())
    bars = "".join(_bar(low, counts[low], counts[low] / highest) for low in range(0, 101, 10))
    note = escape(text("grading.feedback.distribution_note", graded=text("grading.status.graded")))
    return f"<h2>{_words('distribution')}</h2><ul class=bars>{bars}</ul><p class=note>{note}</p>"


def _bar(low: int, count: int, height: float) -> str:
    said = text("grading.feedback.bar", range="100" if low == 100 else f"{low}–{low + 9}", count=count)
    return (
        f"<li><span class=unseen>{escape(said)}</span><span aria-hidden=true>{count or ''}</span>"
        f'<i aria-hidden=true style="height:{6 * height:.3g}rem"></i>'
        f"<span class=low aria-hidden=true>{low}</span></li>"
    )


def _submissions(results: list[Result]) -> str:
    rows = "".join(
        f'<tr><th scope=row><a href="{escape(result.id)}.html"><bdi>{_name(result)}</bdi></a>'
        f"{_why(result)}</th><td class={result.status}>{_status(result.status)}</td>"
        f"<td class=points>{plain(result.score)}<span class=of> / {result.max_score}</span></td></tr>"
        for result in results
    )
    heads = f"<th scope=col>{_words('submission')}</th><th scope=col>{_words('status')}</th>"
    heads += f"<th scope=col class=points>{_words('score')}</th>"
    return f"<table class=submissions><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _why(result: Result) -> str:
    if result.message is None:
        return ""
    return f"<p class=why>{markup(printable(result.message.text(), _LONGEST_NAME))}</p>"


# --- both -----------------------------------------------------------------------------------------------


def _words(name: str) -> str:
    return markup(text(f"grading.feedback.{name}"))


def _unseen(name: str) -> str:
    """A label that only a screen reader says: others see it from the look of the page."""
    return f"<span class=unseen>{_words(name)}: </span>"


def _status(status: str) -> str:
    return markup(text(f"grading.status.{status}"))


def _name(result: Result) -> str:
    return escape(printable(result.submission, _LONGEST_NAME))


def _document(lang: str, title: str, body: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(lang)}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


# The colours are those of the book's drawings; on their ground all have a contrast of at least 4.5.
_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fffdf9; --card: #ffffff; --ink: #1f242d; --muted: #5c6470; --line: #c3c8d0; --blank: #f3f3f1;
  --good: #087253; --part: #ad5200; --open: #bd1f36; --mark: #1f65ad;
  --latin: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17191e; --card: #1f232a; --ink: #ece9e3; --muted: #a7aeb9; --line: #4a515c; --blank: #2b3038;
    --good: #55c9a0; --part: #f6a55a; --open: #ff8a8f; --mark: #79b6f2;
  }
}
* { box-sizing: border-box; margin: 0; }
html { font-family: var(--latin), sans-serif; -webkit-text-size-adjust: 100%; }
html:lang(ja) {
  font-family: var(--latin), "Hiragino Sans", "BIZ UDPGothic", "Yu Gothic UI", "Noto Sans JP",
    "Noto Sans CJK JP", Meiryo, sans-serif;
  line-break: strict;
}
html:lang(ko) {
  font-family: var(--latin), "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR", "Noto Sans CJK KR",
    sans-serif;
  word-break: keep-all;
}
body { background: var(--paper); color: var(--ink); line-height: 1.7; overflow-wrap: anywhere; }
main { max-width: 48rem; margin: 0 auto; padding: 2.5rem 1.25rem 3rem; }
main.wide { max-width: 54rem; }
h1 { font-size: 1.9rem; line-height: 1.35; }
h2 { font-size: 1.1rem; line-height: 1.5; }
h1, h2 { text-wrap: balance; }
p { text-wrap: pretty; }
:lang(ja) :is(h1, h2, p) { word-break: auto-phrase; }
.task, .name, .of, .note, footer { color: var(--muted); }
code {
  padding: .1em .3em; border-radius: .25em;
  font: .9em/1.4 ui-monospace, "Cascadia Code", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono",
    "Noto Sans Mono CJK JP", monospace;
  -webkit-box-decoration-break: clone; box-decoration-break: clone;
}
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
/* Text with piles of accents stays in its own lines. */
.name, .details, .hint, .submissions th { overflow: hidden; }

.verdict {
  display: grid; grid-template-columns: 1fr auto; align-items: baseline;
  margin: 1.5rem 0 2rem; padding: 1.25rem 1.5rem 1.4rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
}
.verdict > * { grid-column: 1 / -1; }
.verdict > .score { grid-column: 1; font-size: 1.5rem; line-height: 1.2; color: var(--muted); }
.verdict > .status { grid-column: 2; font-weight: 600; }
.score strong { font-size: 3.25rem; letter-spacing: -.02em; color: var(--ink); }
.all .score strong { color: var(--good); }
.no .score strong { color: var(--muted); }
.score, .points, .trace, .facts dd, .bars { font-variant-numeric: tabular-nums; }
.meter { height: .5rem; margin: .6rem 0 1rem; overflow: hidden; border-radius: 1rem; }
.meter, code { background: var(--blank); }
.meter i { display: block; height: 100%; background: var(--mark); }
.all .meter i { background: var(--good); }
.said { font-size: 1.05rem; font-weight: 600; }
.details { margin-top: .7rem; padding-left: .9rem; border-left: .25rem solid var(--part); }
.verdict h2 { margin-top: 1.1rem; }

table { width: 100%; border-collapse: collapse; line-height: 1.6; }
th, td { padding: .6rem .5rem; vertical-align: top; text-align: start; border-bottom: 1px solid var(--line); }
thead th { padding-block: .3rem; font-size: .85rem; white-space: nowrap; color: var(--muted); }
.mark { text-align: center; }
td.mark { font-weight: 700; }
.full .mark { color: var(--good); }
.partial .mark { color: var(--part); }
.none .mark { color: var(--open); }
.hint { margin-top: .35rem; padding-left: .8rem; border-left: .2rem solid var(--line); font-size: .94rem; }
.partial .hint { border-color: var(--part); }
.none .hint { border-color: var(--open); }
.points { text-align: end; white-space: nowrap; }
footer { margin-top: 2rem; font-size: .85rem; }
.trace { margin-top: .3rem; }

.facts { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.5rem 0 2rem; }
.facts div {
  padding: .5rem .9rem .6rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
}
.facts dt { font-size: .85rem; color: var(--muted); }
.facts dd { font-size: 1.35rem; font-weight: 650; line-height: 1.3; }
.facts .of { font-size: .9rem; font-weight: 400; }
.bars { display: flex; align-items: end; gap: .3rem; list-style: none; padding: 0; max-width: 36rem; }
.bars li {
  position: relative; flex: 1; min-width: 0; display: flex; flex-direction: column;
  text-align: center; font-size: .8rem; line-height: 1.5;
}
.bars i { border-radius: .2rem .2rem 0 0; background: var(--mark); }
.low { margin-inline: -.15rem; border-top: 1px solid var(--muted); color: var(--muted); }
.note { font-size: .85rem; margin: .3rem 0 2rem; }
.submissions th[scope=row] { width: 100%; font-weight: 400; }
.why { font-size: .85rem; color: var(--muted); }
.submissions a { color: var(--mark); text-underline-offset: .2em; }
.submissions td { white-space: nowrap; }
.submissions td:not(.graded, .points) { color: var(--part); }

@media (max-width: 30rem) {
  main { padding: 1.5rem 1rem 2rem; }
  h1 { font-size: 1.6rem; }
  .verdict { padding: 1rem 1.1rem 1.2rem; }
  th, td { padding-inline: .3rem; }
  .submissions .of { display: none; }
  .submissions td { white-space: normal; overflow-wrap: normal; }
}
@media print {
  @page { margin: 14mm; }
  :root {
    color-scheme: light;
    --paper: #fff; --card: #fff; --ink: #000; --muted: #333; --line: #999; --blank: #fff;
    --good: #000; --part: #000; --open: #000; --mark: #000;
  }
  html { font-size: 9.5pt; }
  body { line-height: 1.45; }
  main, main.wide { max-width: none; padding: 0; }
  table { line-height: 1.4; }
  th, td { padding-block: .3rem; }
  code { padding: 0; }
  .verdict { margin: .8rem 0 1rem; padding: .7rem 1rem; }
  .meter { border: 1px solid #000; }
  .meter i, .bars i { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  tr, .verdict, .bars { break-inside: avoid; }
  footer { margin-top: 1rem; }
}
"""
