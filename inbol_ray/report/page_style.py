"""The report page's style sheet: light and dark, wide and narrow, print; no external font or image."""

STYLE = (
    """
:root {
  color-scheme: light dark;
  --paper: #fcfbf8; --card: #ffffff; --ink: #1c1b19; --soft: #5f5b53; --rule: #e3dfd6; --faint: #f2efe8;
  --correct: #1d7a5f; --on-correct: #ffffff; --refused: #e6e0d2; --on-refused: #4c473c; --wrong: #c8503a;
  --wrong-stripe: #b5432f; --on-wrong: #ffffff; --wrong-text: #a63a26; --refused-text: #6b6353;
  --known: #1d7a5f; --mixed: #c9972f; --unknown: #7d7f8c;
  --m0: #8b867b; --m1: #b98324; --m2: #2f9183; --m3: #a83f7c; --m4: #d08bb5; --m5: #2450b8; --m6: #6a4fb3; --m7: #4b6b2f;
  --serif: "Iowan Old Style", Charter, "Source Serif 4", Georgia, "Liberation Serif", "Noto Serif", serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #161614; --card: #1e1e1b; --ink: #ecebe5; --soft: #a8a498; --rule: #383631; --faint: #24231f;
    --correct: #2c9474; --on-correct: #ffffff; --refused: #4a463c; --on-refused: #e8e3d6; --wrong: #c4553f;
    --wrong-stripe: #ad4632; --on-wrong: #ffffff; --wrong-text: #f0937f; --refused-text: #b9b09c;
    --known: #3fae8b; --mixed: #d9ac4c; --unknown: #8d90a0;
    --m0: #9d988c; --m1: #d9a441; --m2: #45b5a4; --m3: #dd70b0; --m4: #9b5c82; --m5: #7da2ff; --m6: #a992ee; --m7: #93b871;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 var(--sans); }
main { max-width: 1100px; margin: 0 auto; padding: 3.2rem 1.5rem 4rem; }
h1, h2, h3, p, figure, dl, ul { margin: 0; }
.kicker { font-size: .82rem; color: var(--soft); letter-spacing: .02em; overflow-wrap: anywhere; }
h1 { font: 600 clamp(1.65rem, 1.1rem + 2.5vw, 2.6rem)/1.18 var(--serif); margin: .55rem 0 1rem; max-width: 25em;
  letter-spacing: -.012em; text-wrap: balance; }
.evidence { color: var(--soft); max-width: 46em; font-size: 1.02rem; }
section { margin-top: 3.2rem; border-top: 1px solid var(--rule); padding-top: 1.3rem; }
h2 { font: 600 1.42rem/1.25 var(--serif); letter-spacing: -.005em; }
h3 { font: 600 1rem/1.3 var(--sans); }
.note { color: var(--soft); font-size: .92rem; max-width: 50em; margin: .35rem 0 1.1rem; }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.6rem 2.4rem; }
sub { font-size: .72em; line-height: 0; vertical-align: baseline; position: relative; top: .22em; }
h1 sub { font-size: .6em; letter-spacing: 0; }
.whole { white-space: nowrap; }
.hero { margin-top: 2rem; }
.hero h3 { margin-bottom: .5rem; }
.hero h3 span, .panel h3 span, .group h3 span { font-weight: 400; color: var(--soft); }
.rowbar { display: grid; grid-template-columns: 9em minmax(0, 1fr) 3.4em; gap: .7em; align-items: center;
  padding: .2rem 0; font-size: .92rem; }
.rowbar.head { color: var(--soft); padding: 0; } .rowbar.head span { font-size: .78rem; }
.rowbar .score { text-align: right; font-variant-numeric: tabular-nums; font-size: 1.05rem; }
.rowbar.head .score { font-size: .78rem; white-space: nowrap; justify-self: end; }
.best { font-weight: 700; }
.stack { display: flex; gap: 2px; height: 1.75rem; }
.stack i { display: flex; align-items: center; justify-content: center; min-width: 0; overflow: hidden;
  font: 600 .76rem/1 var(--sans); font-variant-numeric: tabular-nums; }
.stack i:first-child { border-radius: 3px 0 0 3px; } .stack i:last-child { border-radius: 0 3px 3px 0; }
.o-correct { background: var(--correct); color: var(--on-correct); }
.o-refused { background: var(--refused); color: var(--on-refused); }
.o-wrong { background: repeating-linear-gradient(135deg, var(--wrong) 0 5px, var(--wrong-stripe) 5px 8px);
  color: var(--on-wrong); }
.keys { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; list-style: none; padding: 0; margin: .9rem 0 0;
  font-size: .87rem; color: var(--soft); }
.keys li { display: flex; align-items: center; gap: .45em; }
.swatch { width: 1.1em; height: 1.1em; border-radius: 2px; flex: none; }
.scroll { overflow-x: auto; margin: 0 0 1.6rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0 0 .45rem; }
caption span { font-weight: 400; color: var(--soft); }
th, td { padding: .42rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
thead th { font-weight: 500; color: var(--soft); font-size: .82rem; vertical-align: bottom; }
thead tr:last-child th { border-bottom: 1.5px solid var(--ink); }
tbody tr:last-child > * { border-bottom: 1.5px solid var(--ink); }
th[scope=row], thead tr:first-child th:first-child { text-align: left; padding-left: 0; }
th[scope=row] { font-weight: 500; position: sticky; left: 0; background: var(--paper); padding-left: 0; }
th[scope=colgroup] { text-align: center; border-bottom: 1px solid var(--rule); color: var(--ink); }
.cut { border-left: 1px solid var(--rule); }
td small { display: block; color: var(--soft); font-size: .74rem; line-height: 1.2; }
.gaps td, .gaps th { vertical-align: middle; }
.gaps td.track-cell { width: 45%; min-width: 9rem; }
.track { position: relative; height: 1.3rem; }
.track i { position: absolute; top: 0; bottom: 0; }
.track .zero { border-left: 1.5px dashed var(--soft); opacity: .75; top: -.42rem; bottom: -.42rem; }
.track .ci { top: 50%; bottom: auto; height: 4px; margin-top: -2px; background: var(--m5); opacity: .45;
  border-radius: 2px; }
.track .dot { top: 50%; bottom: auto; width: 10px; height: 10px; margin: -5px 0 0 -5px; border-radius: 50%;
  background: var(--m5); }
.track.unclear .ci { background: var(--m0); }
.track.unclear .dot { background: var(--paper); border: 2px solid var(--m0); }
.panel h3 { margin-bottom: .25rem; }
.plot { display: block; width: 100%; height: auto; }
.plot text { fill: var(--soft); font: 11.5px var(--sans); font-variant-numeric: tabular-nums; }
.plot .y { text-anchor: end; } .plot .x, .plot .count, .plot .band-name { text-anchor: middle; }
.plot .count { fill: var(--ink); } .plot .band-name { font-size: 11px; }
.plot .grid { stroke: var(--rule); fill: none; } .plot .axis { stroke: var(--soft); fill: none; }
.band { opacity: .09; } .k-known { fill: var(--known); } .k-mixed { fill: var(--mixed); }
.k-unknown { fill: var(--unknown); }
.s-known { background: var(--known); } .s-mixed { background: var(--mixed); } .s-unknown { background: var(--unknown); }
.classes .swatch { display: inline-block; vertical-align: -.2em; margin-right: .5em; width: .9em; height: .9em; }
.classes td:last-child, .classes th:last-child { text-align: left; padding: .42rem 0 .42rem 1.1rem; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .whisker { fill: none; stroke-width: 1.2; opacity: .38; }
.dot { stroke-width: 1.2; } .mark { flex: none; }
"""
    + "".join(
        f".m{n} .line, .m{n} .whisker {{ stroke: var(--m{n}); }} "
        f".m{n} .dot {{ fill: var(--m{n}); stroke: var(--paper); }}\n"
        for n in range(8)
    )
    + """
.m0 .line { stroke-dasharray: 1.5 3.5; stroke-linecap: round; } .m1 .line { stroke-dasharray: 7 3; }
.m4 .line { stroke-dasharray: 4 3; } .m4 .dot { fill: var(--paper); stroke: var(--m4); stroke-width: 1.8; }
.m5 .line { stroke-width: 3; } .m7 .line { stroke-dasharray: 9 3 2 3; }
.group { margin-top: 1.9rem; }
.group h3 { margin-bottom: .7rem; } .group h3 span { margin-left: .35em; }
.cards { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1rem; list-style: none; padding: 0; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: .85rem; display: flex;
  flex-direction: column; gap: .7rem; min-width: 0; overflow-wrap: anywhere; }
.ask { display: grid; grid-template-columns: 6.2rem minmax(0, 1fr); gap: .8rem; align-items: start; }
.ask img, .no-image { width: 100%; border-radius: 3px; display: block; background: var(--faint); }
.ask img { max-height: 9rem; object-fit: contain; }
.no-image { aspect-ratio: 1; display: grid; place-items: center; text-align: center; font-size: .74rem;
  color: var(--soft); padding: .3rem; }
.tiny { image-rendering: pixelated; }
.question { font: 600 1rem/1.3 var(--serif); }
.gold, .where { font-size: .84rem; margin-top: .3rem; } .where { color: var(--soft); font-size: .76rem; }
.replies { list-style: none; padding: 0; font-size: .86rem; line-height: 1.35; }
.replies li { display: grid; grid-template-columns: 8.7em minmax(0, 1fr); gap: .5em; padding: .28rem 0;
  border-top: 1px solid var(--rule); }
.who { color: var(--soft); }
.r-correct { color: var(--correct); } .r-wrong { color: var(--wrong-text); }
.r-refused { color: var(--refused-text); font-style: italic; } .r-error { color: var(--soft); }
@media (prefers-color-scheme: dark) { .r-correct { color: var(--known); } }
.sign { font-style: normal; font-weight: 700; display: inline-block; width: 1.15em; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.times { max-width: 640px; } .times td.track-cell { width: 50%; padding-right: 0; }
.times tfoot > tr > * { font-weight: 600; border-bottom: 0; }
.fill { display: block; height: .6rem; background: var(--m0); opacity: .55; border-radius: 2px; min-width: 1px; }
details { margin-top: .7rem; } summary { cursor: pointer; color: var(--soft); font-size: .92rem; padding: .2rem 0; }
details > .scroll { margin-top: .8rem; }
pre { background: var(--faint); padding: 1rem; border-radius: 6px; overflow: auto; font-size: .78rem; line-height: 1.45;
  max-height: 36rem; white-space: pre-wrap; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--soft); font-size: .84rem; max-width: 52em; }
@media (max-width: 900px) { .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (max-width: 720px) {
  main { padding: 1.8rem 1rem 3rem; } section { margin-top: 2.4rem; }
  .pair { grid-template-columns: minmax(0, 1fr); }
  .cards { grid-template-columns: none; grid-auto-flow: column; grid-auto-columns: min(86%, 22rem); overflow-x: auto;
    scroll-snap-type: x mandatory; padding-bottom: .6rem; margin: 0 -1rem; padding-left: 1rem; padding-right: 1rem;
    scroll-padding: 0 1rem; }
  .card { scroll-snap-align: start; }
  .rowbar { grid-template-columns: 6.3em minmax(0, 1fr) 3em; gap: .5em; font-size: .86rem; line-height: 1.2; }
  th, td { padding: .4rem .45rem; } th[scope=row] { white-space: normal; max-width: 6.2rem; padding-right: .2rem; }
  .gaps th[scope=row] { max-width: 8.2rem; } .gaps td.track-cell { min-width: 5.5rem; }
  .gaps td, .classes td { padding-right: 0; } .classes th[scope=row] { white-space: nowrap; }
  .classes td, .classes th { padding-left: .2rem; padding-right: .2rem; font-size: .84rem; }
  .classes td:last-child, .classes th:last-child { white-space: normal; padding-left: .6rem; }
  .plot text { font-size: 13px; } .plot .band-name { font-size: 12.5px; }
}
@media print { main { max-width: none; padding: 0; } .card, .panel, table { break-inside: avoid; } }
"""
)
