import { PostgresStore, type PostgresStoreOptions } from '@koa-wsession/store-postgres';
import { expect } from 'chai';
import { OptionError } from 'koa-wsession/store';
import pg from 'pg';
import postgres from 'postgres';

describe('The options of PostgresStore', () => {
  const pool = new pg.Pool({ port: 1 });
  const create = (options?: object): PostgresStore => {
    const store = new PostgresStore(pool, options as PostgresStoreOptions);
    store.close(); // no sweep in the middle of another test
    return store;
  };

  it('have defaults', () => {
    const { expire, secure, domain, capabilities } = create();
    expect({ expire, secure, domain, capabilities }).to.deep.equal({
      ...{ expire: 3600, secure: false, domain: undefined },
      capabilities: { seals: false, merges: true, revokes: true },
    });
  });

  for (const [name, values] of Object.entries({
    table: ['', 'a'.repeat(51), '1a', 'a"b', 'a b', 'a;b', 'a\0', 7, null],
    schema: ['', 'a'.repeat(51), 'a.b', 7, null],
    sweepInterval: [0, -1, true, '300', Number.NaN, 1_000_001],
    prepare: ['true', 1, null],
    unlogged: ['true', 1, null],
    expire: [0],
    tabel: ['wsession'],
  })) {
    it(`throw an OptionError where ${name} is invalid`, () => {
      for (const value of values) expect(() => create({ [name]: value }), String(value)).to.throw(OptionError, name);
    });
  }

  it('take names with capitals, digits, "_" and "-", up to 50 characters', () => {
    for (const table of ['a', '_9', 'My-Sessions', 'a'.repeat(50)]) create({ table, schema: table }).close();
  });
});

describe('The client of PostgresStore', () => {
  const options = { port: 1, host: '127.0.0.1' };

  it('is a pool or a client of pg, or one of postgres; nothing is connected', () => {
    for (const client of [new pg.Pool(options), new pg.Client(options), postgres(options)])
      new PostgresStore(client).close();
  });

  for (const [what, client] of Object.entries({
    nothing: undefined,
    null: null,
    'a connection string': 'postgres://localhost',
    'options of a client': options,
    'a function': () => {},
    'the class': pg.Pool,
    'a tagged query': postgres(options)`SELECT 1`,
    'a client of another database': { query() {}, connect() {}, escapeId() {}, on() {} },
  })) {
    it(`is not ${what}: an OptionError that names both`, () => {
      expect(() => new PostgresStore(client as never)).to.throw(OptionError, /pg: new Pool.* or of postgres: .*, got /);
    });
  }

  it('gets a listener for errors where it has none, and else none', () => {
    const without = new pg.Pool(options);
    new PostgresStore(without).close();
    new PostgresStore(without).close();
    expect(without.listenerCount('error')).to.equal(1);
    const withOne = new pg.Pool(options).on('error', () => {});
    new PostgresStore(withOne).close();
    expect(withOne.listenerCount('error')).to.equal(1);
  });
});
