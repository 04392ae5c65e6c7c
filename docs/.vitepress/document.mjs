/** A Markdown document's parts: `title`, `intro`, `sections` (each from its `## heading`), and all links of its prose. */
export function documentOf(text) {
  const parts = [{ heading: undefined, lines: [] }];
  let title = '';
  for (const { line, code } of linesOf(text)) {
    const heading = code ? undefined : /^## (.+)$/.exec(line)?.[1];
    if (heading) parts.push({ heading, lines: [] });
    else if (!code && title === '' && line.startsWith('# ')) title = line.slice(2);
    else parts.at(-1).lines.push(line);
  }
  const [intro, ...sections] = parts.map(({ heading, lines }) => ({ heading, text: lines.join('\n').trim() }));
  const links = [];
  replaceLinks(text, (link) => {
    links.push(link);
    return link;
  });
  return { title, intro: intro.text, sections, links };
}

/** The anchors of a document's headings. */
export function anchorsOf(text) {
  const headings = Array.from(linesOf(text), ({ line, code }) => (code ? undefined : /^#+ (.+)$/.exec(line)?.[1]));
  return headings.filter(Boolean).map(slugOf);
}

/** The anchor of a heading, as GitHub makes it. */
export function slugOf(heading) {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
}

/** A section as a page: its headings one level up. */
export function raiseHeadings(text) {
  return Array.from(linesOf(text), ({ line, code }) => (code ? line : line.replace(/^##(#+ )/, '#$1'))).join('\n');
}

/** The text with other targets in its links and images; code stays as it is. */
export function replaceLinks(text, replace) {
  return Array.from(linesOf(text), ({ line, code }) => {
    if (code) return line;
    const parts = line.split(/(`[^`]*`)/);
    const inside = line
      .replace(/(\]\()([^)\s]+)(\))/g, (_, before, link, after) => before + replace(link) + after)
      .replace(/(<(?:img|source)[^>]* src(?:set)?=")([^"]+)/g, (_, before, link) => before + replace(link))
      .replace(/^(\[[^\]]+\]: )(\S+)/, (_, before, link) => before + replace(link));
    return parts.length === 1 || /\]\(|^\[|<(?:img|source)/.test(line) ? inside : line;
  }).join('\n');
}

/** The lines of a document, each with whether it is in a block of code. */
function* linesOf(text) {
  let fence;
  for (const line of text.split('\n')) {
    const mark = /^\s*(```+|~~~+)/.exec(line)?.[1];
    const closes = fence && mark?.startsWith(fence);
    yield { line, code: fence !== undefined || mark !== undefined };
    if (closes) fence = undefined;
    else if (fence === undefined) fence = mark;
  }
}
