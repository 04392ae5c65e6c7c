import { round } from './round.js';
import { SYSTEMS } from './systems.js';
import { WORKS } from './works.js';

const WIDTH = 960;
const LABELS = 300;
const VALUES = 60;
const BAR = 13;
const STEP = 19;
const GROUP_GAP = 9;
const TITLE = 46;

/** The axis is logarithmic; bars begin at 1, the cost of Koa alone. */
const TICKS = [1, 2, 5, 10, 20, 50, 100, 200];

/** A bar chart of the medians, as SVG, readable on light and on dark pages. */
export function ratiosChart(cells) {
  const most = Math.max(...cells.map(({ median }) => median));
  const least = Math.min(0.8, ...cells.map(({ median }) => median));
  const span = WIDTH - LABELS - VALUES;
  const x = (ratio) => LABELS + (span * Math.log(ratio / least)) / Math.log(most / least);

  const parts = [];
  let y = 64;
  for (const work of WORKS) {
    const bars = SYSTEMS.flatMap((system) => {
      const cell = cells.find((cell) => cell.system === system.id && cell.work === work.id);
      return cell ? [{ system, median: cell.median }] : [];
    });
    if (bars.length === 0) continue;

    parts.push(text(0, y + 18, 'title', `${work.title[0].toUpperCase()}${work.title.slice(1)}`));
    const top = y + TITLE;
    y = top;
    const drawn = bars.map(({ system, median }, index) => {
      if (index > 0 && bars[index - 1].system.kind !== system.kind) y += GROUP_GAP;
      const [from, to] = [x(Math.min(1, median)), x(Math.max(1, median))];
      const bar = [
        text(LABELS - 12, y + 11, system.role, system.label, 'end'),
        `<rect class="${system.role}" x="${n(from)}" y="${y}" width="${n(Math.max(1, to - from))}" height="${BAR}"/>`,
        text(to + 6, y + 11, system.role, round(median)),
      ];
      y += STEP;
      return bar.join('\n');
    });
    for (const tick of TICKS.filter((tick) => tick <= most)) {
      parts.push(
        `<path class="${tick === 1 ? 'one' : 'grid'}" d="M${n(x(tick))} ${top - 6}V${y}"/>`,
        text(x(tick), top - 10, 'faint', String(tick), 'middle'),
      );
    }
    parts.push(...drawn);
    y += 22;
  }

  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 0 ${WIDTH + 40} ${y}" role="img" aria-labelledby="name">
<title id="name">CPU per request with sessions, in multiples of Koa without</title>
<style>
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  text.head { font-size: 18px; font-weight: 600 }
  text.title { font-size: 14px; font-weight: 600 }
  text.ours { font-weight: 600 }
  text.floor { font-style: italic }
  text.faint { fill: #59636e }
  .ground { fill: #fff }
  rect.ours { fill: #1a6fd4 }
  rect.floor { fill: #8a949e }
  rect.peer { fill: #c9d1d9 }
  path { stroke: #d1d9e0 }
  path.one { stroke: #1f2328 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    text.faint { fill: #9198a1 }
    .ground { fill: #0d1117 }
    rect.ours { fill: #58a6ff }
    rect.floor { fill: #767e88 }
    rect.peer { fill: #3f4750 }
    path { stroke: #30363d }
    path.one { stroke: #f0f6fc }
  }
</style>
<rect class="ground" x="-20" width="${WIDTH + 40}" height="${y}"/>
${text(0, 28, 'head', 'CPU per request with sessions')}
${text(0, 48, 'faint', 'In multiples of Koa without sessions (1), median, on a logarithmic axis. Shorter is better.')}
${parts.join('\n')}
</svg>
`;
}

function text(x, y, className, content, anchor) {
  const at = anchor ? ` text-anchor="${anchor}"` : '';
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text class="${className}" x="${n(x)}" y="${n(y)}"${at}>${escaped}</text>`;
}

function n(number) {
  return Number(number.toFixed(1));
}
