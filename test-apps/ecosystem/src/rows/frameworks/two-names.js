import { expect } from 'chai';
import mount from 'koa-mount';
import { count } from '../../counter.js';

/** Two apps side by side, each with its own session on the same browser. */
export default async function twoNames(trial) {
  const app = trial.bareApp();
  for (const name of ['shop', 'office']) {
    const part = trial.app({ name });
    part.use((ctx) => {
      ctx.body = String(count(ctx));
    });
    app.use(mount(`/${name}`, part));
  }
  const visitor = await trial.visit(app);
  const bodies = [];
  for (const path of ['/shop', '/office', '/shop', '/shop', '/office']) bodies.push((await visitor.get(path)).body);
  expect(bodies).to.deep.equal(['1', '1', '2', '3', '2']);
  expect([...visitor.jar.keys()].filter((name) => !name.endsWith('.sig'))).to.have.members(['shop', 'office']);
}
