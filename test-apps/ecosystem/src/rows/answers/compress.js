import { Readable } from 'node:stream';
import { expect } from 'chai';
import compress from 'koa-compress';
import { count } from '../../counter.js';

/** `fetch` decodes, and shows that there was something to decode. */
export default async function koaCompress(trial) {
  const app = trial.app();
  app.use(compress({ threshold: 0, br: false }));
  app.use((ctx) => {
    const text = `${count(ctx)} `.repeat(1000);
    ctx.type = 'text';
    ctx.body = ctx.path === '/stream' ? Readable.from([text]) : text;
  });
  const visitor = await trial.visit(app);
  const visit = async (path) => {
    const headers = { 'accept-encoding': 'gzip', cookie: visitor.cookie };
    const response = await fetch(visitor.url + path, { headers });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      visitor.jar.set(name, value);
    }
    expect(response.headers.get('content-encoding')).to.equal('gzip');
    return (await response.text()).slice(0, 2);
  };
  expect([await visit('/'), await visit('/stream'), await visit('/'), await visit('/stream')]).to.deep.equal([
    '1 ',
    '2 ',
    '3 ',
    '4 ',
  ]);
}
