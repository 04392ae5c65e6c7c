// Runs after tsc. Replaces the compiled devalue.ts by devalue itself, as CommonJS: devalue is an ES module, which Jest
// and other CommonJS hosts can't require.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const core = fileURLToPath(new URL('../packages/koa-wsession/', import.meta.url));
const license = readFileSync(new URL('../node_modules/devalue/LICENSE', import.meta.url), 'utf8');

await build({
  entryPoints: [`${core}src/kernel/devalue.ts`],
  outfile: `${core}dist/kernel/devalue.js`,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20.19',
  banner: { js: `/*! devalue\n${license}*/` },
});
