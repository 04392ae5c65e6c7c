import { readFileSync } from 'node:fs';
import type Koa from 'koa';

/** Text that is HTML already. All other text is escaped when it comes into a page. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** HTML with values in it: escaped, unless they are HTML already; lists are joined, `undefined` is nothing. */
export function html(parts: TemplateStringsArray, ...values: unknown[]): Html {
  return new Html(parts.map((part, i) => (i === 0 ? part : toText(values[i - 1]) + part)).join(''));
}

function toText(value: unknown): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(toText).join('');
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export interface Page {
  readonly title: string;
  /** Where the sessions are, for the foot of the page. */
  readonly place: string;
  readonly main: Html;
  /** What stands beside the name in the head of the page. */
  readonly nav?: Html | undefined;
  readonly notice?: string | undefined;
  readonly script?: string;
}

/** The frame of every page. */
export function renderPage({ title, place, main, nav, notice, script }: Page): string {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · koa-wsession</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
${script === undefined ? undefined : html`<script type="module" src="${script}"></script>`}
<header><a class="brand" href="/">koa-wsession</a>${nav}</header>
<main>
<h1>${title}</h1>
${notice === undefined ? undefined : html`<p class="notice" role="status">${notice}</p>`}
${main}
</main>
<footer>Sessions: ${place}.</footer>
</html>
`.text;
}

const STYLE = readFileSync(new URL('../style.css', import.meta.url), 'utf8');

/** Serves the style sheet, and allows pages nothing that is not their own. */
export function pages(): Koa.Middleware {
  return (ctx, next) => {
    ctx.set(
      'Content-Security-Policy',
      "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    );
    if (ctx.path !== '/style.css') return next();
    ctx.type = 'css';
    ctx.body = STYLE;
  };
}
