import type { ServerResponse } from 'node:http';

/** Headers that instruct a CDN or a proxy besides `Cache-Control` (RFC 9213, and what vendors made of it). */
const CDN_HEADERS = [
  'CDN-Cache-Control',
  'Cloudflare-CDN-Cache-Control',
  'Netlify-CDN-Cache-Control',
  'Vercel-CDN-Cache-Control',
  'Surrogate-Control',
  'X-Accel-Expires',
];

/** A response that carries a token is for one visitor: no shared cache may keep it, whatever the app set. */
export function makePrivate(response: ServerResponse): void {
  for (const header of CDN_HEADERS) if (response.hasHeader(header)) response.removeHeader(header);
  const control = String(response.getHeader('Cache-Control') ?? '');
  if (control === 'no-store') return;
  const directives = control.split(/\s*,\s*/).filter((directive) => directive !== '');
  if (directives.length === 0) response.setHeader('Cache-Control', 'no-store');
  else if (!directives.some((directive) => /^(?:private|no-store)$/i.test(directive))) {
    const own = directives.filter((directive) => !/^(?:public$|s-maxage\b)/i.test(directive));
    response.setHeader('Cache-Control', [...own, 'private'].join(', '));
  }
}
