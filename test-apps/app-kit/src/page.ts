import { readFileSync } from 'node:fs';
import type Koa from 'koa';

declare module 'koa-wsession' {
  interface FlashMessages {
    /** What the next page tells the visitor. */
    notice: string;
  }
}

/** Text that is HTML already. Any other text is escaped in a page. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** HTML with values in it: escaped unless they are HTML already; lists are joined, `undefined` becomes nothing. */
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
  /** What the head of the page shows next to the name. */
  readonly nav?: Html | undefined;
  readonly notices?: readonly string[];
  readonly script?: string;
}

/** The frame of every page. */
export function renderPage({ title, place, main, nav, notices = [], script }: Page): string {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · koa-wsession</title>
<link rel="icon" href="/favicon.ico">
<link rel="stylesheet" href="/style.css">
${script === undefined ? undefined : html`<script type="module" src="${script}"></script>`}
<header><a class="brand" href="/">koa-wsession</a>${nav}</header>
<main>
<h1>${title}</h1>
${notices.map((notice) => html`<p class="notice" role="status">${notice}</p>`)}
${main}
</main>
<footer>Sessions: ${place}.</footer>
</html>
`.text;
}

/** By path, the type and the text of what each page loads. Browsers ask for the icon without being told. */
const FILES: Record<string, [type: string, text: string]> = {
  '/style.css': ['css', readFileSync(new URL('../style.css', import.meta.url), 'utf8')],
  '/favicon.ico': [
    'svg',
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4" fill="#2150b5"/></svg>',
  ],
};

/** Serves the style sheet and the icon, and lets pages load only the app's own files. */
export function pages(): Koa.Middleware {
  return (ctx, next) => {
    ctx.set(
      'Content-Security-Policy',
      "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    );
    const file = FILES[ctx.path];
    if (file === undefined) return next();
    [ctx.type, ctx.body] = file;
  };
}
