import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { inspect, promisify } from 'node:util';
import { runInNewContext } from 'node:vm';
import { CookieStore, type Secret } from '@koa-wsession/store-cookie';
import { expect } from 'chai';
import { OptionError } from 'koa-wsession/store';
import sinon from 'sinon';
import { create, loaded, masterKeyOf, OTHER_SECRET, recordOf, SECRET } from './support.js';

describe('options of CookieStore', () => {
  const construct = (...args: unknown[]): CookieStore =>
    new CookieStore(...(args as ConstructorParameters<typeof CookieStore>));

  function errorOf(...args: unknown[]): Error & { code?: string } {
    try {
      construct(...args);
    } catch (error) {
      return error as Error;
    }
    throw new Error('no error was thrown');
  }

  it('have their defaults', () => {
    const { expire, secure, domain, capabilities } = new CookieStore(SECRET);
    expect({ expire, secure, domain, capabilities }).to.deep.equal({
      expire: 3600,
      secure: false,
      domain: undefined,
      capabilities: { seals: true, merges: false, revokes: false },
    });
    const store = new CookieStore(SECRET, { expire: 60, secure: true, domain: 'example.com' });
    expect([store.expire, store.secure, store.domain]).to.deep.equal([60, true, 'example.com']);
  });

  it('that are invalid or unknown throw an OptionError', () => {
    for (const options of [
      null,
      'secret',
      { expire: 0 },
      { expire: Number.NaN },
      { secure: 1 },
      { domain: 'a;b' },
      { keys: [] },
    ]) {
      const error = errorOf(SECRET, options);
      expect(error, inspect(options)).to.be.an.instanceOf(OptionError);
      expect(error.code).to.equal('WSESSION_OPTION');
    }
    expect(errorOf(SECRET, { expires: 60 }).message).to.match(
      /^Unknown option expires of CookieStore: did you mean expire\?/,
    );
  });

  it('need a secret: a string or bytes, or a list of these', () => {
    const expected = 'a string or a Uint8Array of 1 or more bytes, such as one of `openssl rand -base64 32`';
    for (const [secrets, option, got] of [
      [undefined, 'secret 1 of CookieStore', 'undefined'],
      [null, 'secret 1 of CookieStore', 'null'],
      ['', 'secret 1 of CookieStore', '""'],
      [new Uint8Array(0), 'secret 1 of CookieStore', 'an object (Uint8Array)'],
      [[''], 'secret 1 of CookieStore', '""'],
      [[SECRET, ''], 'secret 2 of CookieStore', '""'],
      [[undefined, SECRET], 'secret 1 of CookieStore', 'undefined'],
      [[[SECRET]], 'secret 1 of CookieStore', 'a list of 1'],
      [() => SECRET, 'secret 1 of CookieStore', 'a function'],
      [true, 'secret 1 of CookieStore', 'an object (Boolean)'],
    ] as const) {
      const error = errorOf(secrets);
      expect(error, inspect(secrets)).to.be.an.instanceOf(OptionError);
      expect(error.message).to.equal(`Invalid option ${option}: expected ${expected}, got ${got}`);
    }
    expect(errorOf([]).message).to.equal(
      'Invalid option secrets of CookieStore: expected at least one secret, got a list of 0',
    );
  });

  it('never show a secret in an error, wherever it stands', () => {
    const short = 'hunter2';
    for (const [args, secret] of [
      [[{ secret: short }], short],
      [[[short, '']], short],
      [[[[short]]], short],
      [[new String(short)], short],
      [[short, short], short],
      [[short, [short]], short],
      [[short, () => short], short],
      [[short, { secure: 'yes' }], short],
      [[short, { secret: short }], short],
      [[short, 987654321], '987654321'],
      [[987654321], '987654321'],
      [[987654321n], '987654321'],
      [[[short, 987654321]], '987654321'],
      [[Symbol('987654321')], '987654321'],
      [[new Uint16Array([98, 76, 54])], '98'],
      [[Object.assign([], { secret: short })], short],
    ] as const) {
      const error = errorOf(...args);
      expect(error, inspect(args)).to.be.an.instanceOf(OptionError);
      expect(inspect({ ...error }) + error.message, inspect(args)).not.to.include(secret);
    }
  });

  it('are not shown by the store, neither the secrets nor the keys', () => {
    const store = new CookieStore([SECRET, OTHER_SECRET]);
    const shown = inspect(store, { depth: null, showHidden: true }) + JSON.stringify(store);
    const key = masterKeyOf(SECRET);
    for (const part of [SECRET, OTHER_SECRET, key.toString('hex'), key.toString('base64'), inspect(key).slice(8, 40)])
      expect(shown).not.to.include(part);
  });

  it('take a string as its UTF-8 bytes', () => {
    const store = new CookieStore(SECRET);
    const bytes = new CookieStore(new Uint8Array(Buffer.from(SECRET)));
    expect(loaded(bytes, create(store))?.entries.get('a')).to.equal('1');
  });

  it('take bytes of another realm, as Jest makes them', () => {
    const bytes = runInNewContext(`Uint8Array.from(${JSON.stringify([...Buffer.from(SECRET)])})`);
    expect(bytes).not.to.be.an.instanceOf(Uint8Array);
    expect(loaded(construct(bytes), create(new CookieStore(SECRET)))?.entries.get('a')).to.equal('1');
  });

  it('take several secrets: the first seals, each opens', () => {
    const [old, both, latest] = [
      new CookieStore(OTHER_SECRET),
      new CookieStore([SECRET, OTHER_SECRET]),
      new CookieStore([SECRET]),
    ];
    const record = recordOf({ a: '1' });
    const token = create(old, record);
    expect(loaded(both, token)).to.deep.equal(record);
    expect(loaded(latest, token)).to.equal(undefined);
    expect(loaded(latest, create(both, record))).to.deep.equal(record);
    expect(loaded(old, create(both, record))).to.equal(undefined);
  });

  it('derive the key once for each secret, however many stores there are', () => {
    const secrets: Secret[] = ['a secret that no other test has, 32 bytes', SECRET];
    const scrypt = sinon.spy(crypto, 'scryptSync');
    syncBuiltinESMExports();
    try {
      for (let i = 0; i < 3; i++) new CookieStore(secrets);
      expect(scrypt.callCount).to.be.at.most(2).and.at.least(1);
      scrypt.resetHistory();
      new CookieStore(secrets);
      expect(scrypt.callCount).to.equal(0);
    } finally {
      scrypt.restore();
      syncBuiltinESMExports();
    }
  });

  it('warn of a short secret, once in a process, and do not show it', async () => {
    const script = `
      import { CookieStore } from '@koa-wsession/store-cookie';
      process.on('warning', ({ name, code, message }) => console.log(JSON.stringify({ name, code, message })));
      new CookieStore('${'x'.repeat(32)}');
      new CookieStore('${'ä'.repeat(16)}');
      await new Promise(setImmediate);
      console.log('"quiet so far"');
      new CookieStore(['${'x'.repeat(32)}', '${'y'.repeat(31)}']);
      new CookieStore('${'z'.repeat(31)}');
    `;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--no-warnings', '--input-type=module', '--eval', script],
      { cwd: new URL('..', import.meta.url) },
    );
    const warnings = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(warnings).to.have.length(2);
    expect(warnings[0]).to.equal('quiet so far');
    expect(warnings[1]).to.include({ name: 'SecurityWarning', code: 'WSESSION_SHORT_SECRET' });
    expect(warnings[1].message).to.include('openssl rand -base64 32').and.not.include('yyy');
  });
});
