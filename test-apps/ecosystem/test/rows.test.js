import { has } from 'testkit/programs';
import { knownFailure, ROWS } from '../src/rows.js';
import './setup.js';

const NEEDS = { files: [], cookies: [], redis: ['redis-server'], 'koa-session': [], 'koa-session-store': [] };

for (const [id, needs] of Object.entries(NEEDS)) {
  describe(`The packages on ${id}`, () => {
    let runner;
    let system;

    before(async function () {
      const missing = needs.filter((program) => !has(program));
      if (missing.length > 0) {
        console.log(`    skipped: needs ${missing}, which is not on the PATH`);
        this.skip();
      }
      // Here, and not at the top: the packages aren't installed before.
      runner = await import('../src/runner.js');
      system = await (await import('../src/systems.js')).openSystem(id);
    });
    after(() => system?.close());

    for (const row of ROWS.filter(({ heavy }) => !heavy)) {
      const known = knownFailure(row, id);
      it(`${row.package}: ${row.did}${known ? ` (${known.why})` : ''}`, async () => {
        const problem = runner.mismatch(row, system, await runner.runRow(row, system));
        if (problem) throw problem;
      });
    }
  });
}
