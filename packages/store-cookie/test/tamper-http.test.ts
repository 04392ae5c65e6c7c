import { expect } from 'chai';
import fc from 'fast-check';
import { foreign, mutant, RUNS } from './mutants.js';
import { makeStore } from './support.js';
import { count, makeWorld, read, type World } from './world.js';

describe('a forged token over HTTP', () => {
  let world: World;
  before(async () => {
    world = await makeWorld(makeStore(), { '/': count, '/read': read });
  });
  after(() => world.close());

  it('belongs to an anonymous visitor, and never causes a 5xx', async () => {
    // What a header can carry as one cookie.
    const sendable = mutant.filter(
      (token) => /^[\t\x20-\x3a\x3c-\x7e\x80-\xff]*$/.test(token) && token === token.trim(),
    );
    const property = fc.asyncProperty(sendable, async (token) => {
      const mallory = world.visitor(token);
      const { status, body, setCookie } = await mallory.get('/read');
      expect([status, body, setCookie]).to.deep.equal([200, '{}', []]);
      const written = await mallory.get('/');
      expect([written.status, written.body]).to.deep.equal([200, '1']);
      expect(mallory.jar.get('wsession')).not.to.equal(token);
    });
    await fc.assert(property, { numRuns: RUNS / 10 });
    expect(world.errors).to.deep.equal([]);
  });

  it('next to the right one does no harm', async () => {
    const ada = world.visitor();
    await ada.get('/');
    const right = ada.cookie;
    for (const value of ['', 'x', right.slice(9, -1), foreign[1]]) {
      const cookie = `wsession=${value}; ${right}; other=1`;
      expect((await ada.get('/', { headers: { cookie } })).body).to.equal('2');
    }
  });
});
