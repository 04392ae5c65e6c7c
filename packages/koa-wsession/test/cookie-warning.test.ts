import { expect } from 'chai';
import { headerTransport, type SessionOptions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { StoreOptions } from 'koa-wsession/store';
import { restore, stub } from 'sinon';

describe('In production, the session cookie', () => {
  const before = process.env.NODE_ENV;
  afterEach(() => {
    restore();
    if (before === undefined) delete process.env.NODE_ENV;
    else process.env.NODE_ENV = before;
  });

  /** The warnings of `session(store, options)`. */
  function warningsOf(store: StoreOptions, options: SessionOptions = {}, environment = 'production'): string[] {
    const warnings = stub(process, 'emitWarning');
    const made = new MemoryStore(store);
    process.env.NODE_ENV = environment;
    session(made, options);
    delete process.env.NODE_ENV;
    warnings.restore();
    return warnings.args.map(([text, options]) => `${(options as unknown as { code: string }).code} ${text}`);
  }

  it('without secure, or without a prefix, is a warning with the line to write', () => {
    for (const [store, options, lacks, write] of [
      [{}, {}, /is sent over plain http, too, and has a name without a prefix/, '__Host-wsession'],
      [{ secure: true }, { name: 'sid' }, /sid has a name without a prefix/, '__Host-sid'],
      [{ secure: true, domain: 'example.com' }, {}, /without a prefix/, '__Secure-wsession'],
      [{ secure: true }, { path: '/shop' }, /without a prefix/, '__Secure-wsession'],
      [{ secure: true }, { transport: [headerTransport('x-s'), 'cookie'] }, /without a prefix/, '__Host-wsession'],
    ] as const) {
      const [warning, ...more] = warningsOf(store, options as SessionOptions);
      expect(more).to.deep.equal([]);
      expect(warning)
        .to.match(/^WSESSION_INSECURE_COOKIE /)
        .and.to.match(lacks);
      expect(warning).to.include(`session(new MemoryStore(…, { secure: true }), { name: '${write}' })`);
    }
  });

  it('with both, or none at all, is no warning', () => {
    for (const prefix of ['__Host-', '__Secure-', '__Http-', '__Host-Http-'])
      expect(warningsOf({ secure: true }, { name: `${prefix}sid` }), prefix).to.deep.equal([]);
    expect(warningsOf({}, { transport: headerTransport('x-session') })).to.deep.equal([]);
  });

  it('elsewhere is no warning', () => {
    for (const environment of ['development', 'test', '']) expect(warningsOf({}, {}, environment)).to.deep.equal([]);
  });
});
