import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { slugOf } from './document.mjs';
import { readOutline } from './outline.mjs';

const groups = readOutline().map(({ text, pages }) => ({
  text,
  collapsed: text === 'Design decisions',
  items: pages.map(({ title, path }) => ({
    text: title.replaceAll('`', ''),
    link: `/${path.replace(/\bindex$/, '')}`,
  })),
}));
const modules = readdirSync(join(import.meta.dirname, 'pages/api'), { recursive: true })
  .filter((name) => name.endsWith('.md') && name !== 'index.md')
  .map((name) => name.slice(0, -3))
  .sort((a, b) => Number(b.startsWith('koa-')) - Number(a.startsWith('koa-')) || a.localeCompare(b));
const api = { text: 'API', link: '/api/', items: modules.map((name) => ({ text: name, link: `/api/${name}` })) };
groups.splice(groups.findIndex(({ text }) => text === 'Reference') + 1, 0, api);

export default {
  title: 'koa-wsession',
  description: 'Sessions for Koa',
  srcDir: '.vitepress/pages',
  outDir: '.vitepress/dist',
  cacheDir: '.vitepress/cache',
  markdown: { anchor: { slugify: slugOf } },
  metaChunk: true,
  themeConfig: {
    search: { provider: 'local' },
    nav: [
      { text: 'Start', link: '/start/install-and-count', activeMatch: '^/start/' },
      { text: 'Guides', link: '/guides/', activeMatch: '^/guides/' },
      { text: 'Reference', link: '/reference/', activeMatch: '^/(reference|api)/' },
      { text: 'Explanations', link: '/explanations/guarantees', activeMatch: '^/explanations/' },
    ],
    sidebar: groups,
    outline: [2, 3],
    socialLinks: [{ icon: 'github', link: 'https://github.com/koa-wsession/koa-wsession' }],
  },
};
