// Reports habits that make the documents hard to read: `node .build/prose.mjs`, part of `npm run lint`.
// Code, links' targets, comments and quoted titles of other documents are left out.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const DOCUMENTS = [
  'README.md',
  'SECURITY.md',
  'CONTRIBUTING.md',
  'docs',
  'packages/*/README.md',
  'test-apps/*/README.md',
];

/** What is looked for in prose, and what to write instead. */
const RULES = [
  [/\banswer(s|ed|ing)?\b(?=[^.]*\b(undefined|null|true|false|promise)\b)/i, 'returns'],
  [/\b(store|server|method|function|app|handler|call|middleware|library|it) answers\b/i, 'returns, responds with'],
  [/\bis answered\b|\banswered with\b/i, 'gets the response, responds with'],
  [/\bwho(so)?ever\b/i, 'name the visitor, the request or the code'],
  [
    /\b(for|than|of|to|by|from) who\b|\bwho (brings?|has|rather|asks?|sends?|doesn't)\b(?<!\b(visitors?|users?|readers?|attackers?|people|anyone|someone|everyone|authors?|person|those) who \w+)/i,
    'name the visitor or the request',
  ],
  [/\b(is|are|was) an? `?\w+Error`?(?=$|[^\w`])/, 'throws, rejects with'],
  [/(?<!\w)(?<!response )(?<!, it )(is|are|was|becomes?) a (4\d\d|5\d\d|5xx)\b/, 'responds with'],
  [/\bbeside\b/i, 'besides, next to, in addition to'],
  [/\bat work\b/i, 'in progress'],
  [/\b(can't|cannot|couldn't|can) be (had|meant)\b/i, "isn't available, isn't supported, is invalid"],
  [/\bby itself\b/i, 'automatically'],
  [/\b(nobody|somebody|no one)\b(?! *\|)/i, 'name the visitor, or use the passive'],
  [
    /\b(session|token|cookie|record|entry|id|key)s?\b[^.|(,]*\b(is|are|was|were) gone\b/i,
    'expired, was destroyed, was replaced',
  ],
  [/\b(hence|for good|nothing is to be done)\b/i, 'so, for ever, nothing is needed'],
  [/\b(he|she|his|hers?)\b/, 'the visitor, the user'],
  [
    /\b(visit|arrival|condemned|unheard|hand(s|ed)? over|seiz(e|es|ed)|ticket|incarnation)\b(?!s)/i,
    "the field's own word",
  ],
];

/** The most words in a sentence. */
const LONGEST = 42;

/** Headings that say nothing to a reader who looks for something. */
const RIDDLES =
  /^(Beside .*|Beyond .*|Moving in|What isn't|What else .*|What it is not|Why it is as it is|A .* that isn't one|Odds and ends|In short)$/i;

const files = String(execFileSync('git', ['ls-files', '-co', '--exclude-standard', ...DOCUMENTS], { cwd: root }))
  .split('\n')
  .filter((path) => path.endsWith('.md') && !path.endsWith('CHANGELOG.md'));
const problems = files.flatMap(check);
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;

function check(path) {
  const found = [];
  proseOf(readFileSync(resolve(root, path), 'utf8')).forEach((line, index) => {
    const at = `${path}:${index + 1}`;
    const heading = /^#+ (.*)$/.exec(line)?.[1];
    if (heading && RIDDLES.test(heading)) found.push(`${at} the heading "${heading}": say what the section is about`);
    for (const [pattern, better] of RULES) {
      const [words] = pattern.exec(line) ?? [];
      if (words) found.push(`${at} "${words}": ${better}`);
    }
  });
  for (const sentence of sentencesOf(readFileSync(resolve(root, path), 'utf8'))) {
    const words = sentence.split(/\s+/).filter((word) => /\w/.test(word)).length;
    if (words > LONGEST) found.push(`${path} a sentence of ${words} words: "${sentence.slice(0, 60)}…"`);
  }
  return found;
}

/** The sentences outside tables, headings and lists of links. */
function sentencesOf(text) {
  const lines = proseOf(text).map((line) =>
    /^\s*$|^[|#]| · /.test(line) ? '\n' : line.replace(/^\s*([-*]|\d+\.) /, '\n'),
  );
  return lines
    .join(' ')
    .split('\n')
    .flatMap((paragraph) => paragraph.trim().split(/(?<=[.!?:;])\s+/));
}

/** The lines of a document with blanks in place of code and of links' targets. */
function proseOf(text) {
  const blank = (found) => found.replaceAll(/[^\n]/g, ' ');
  return text
    .replaceAll(/^( *)(```+)[^\n]*\n.*?^\1\2$/gms, blank)
    .replaceAll(/<!--.*?-->/gs, blank)
    .replaceAll(/\]\([^)\n]*\)/g, (found) => `]${' '.repeat(found.length - 1)}`)
    .split('\n')
    .map((line) => line.replaceAll(/`[^`]*`/g, (code) => (/^`\w*Error`$/.test(code) ? code : '`code`')));
}
