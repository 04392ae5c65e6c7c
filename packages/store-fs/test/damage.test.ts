import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { expect } from 'chai';
import { packRecord } from 'koa-wsession/store';
import { call, changesOf, contentOf, errorOf, type Folder, newAddress, recordOf, useFolder } from './helpers.js';

interface Damaged {
  readonly folder: Folder;
  readonly address: string;
  /** The session's file, which doesn't exist yet. */
  readonly path: string;
  /** What would be good in it. */
  readonly good: Buffer;
  /** What is to be done after the test, if that is more than to remove the file. */
  readonly cleanUp: Array<() => void>;
}

type Damage = (damaged: Damaged) => unknown;

const write =
  (change: (good: Buffer, damaged: Damaged) => string | Uint8Array): Damage =>
  (damaged) =>
    writeFileSync(damaged.path, change(damaged.good, damaged));

const mark = (address: string, until: number | string = Date.now() + 60_000) =>
  `replaced,${until},43\n${address}${newAddress()}`;

const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'ignore' });

const kinds: Record<string, Damage> = {
  'is empty': write(() => ''),
  'is one character': write(() => '2'),
  'is a line feed': write(() => '\n'),
  'ends in the header': write((good) => good.subarray(0, 9)),
  'ends with the header': write((good) => good.subarray(0, good.indexOf('\n') + 1)),
  'ends in the address': write((good) => good.subarray(0, good.indexOf('\n') + 20)),
  'ends in the middle': write((good) => good.subarray(0, good.length / 2)),
  'lacks the last byte': write((good) => good.subarray(0, -1)),
  'lacks the last byte of a character': write((good) => {
    expect(good.at(-1)).to.be.greaterThan(127);
    return good.subarray(0, -1);
  }),
  'lacks two bytes of a character': write((good) => good.subarray(0, -2)),
  'has a byte too many': write((good) => Buffer.concat([good, Buffer.from('x')])),
  'is there twice': write((good) => Buffer.concat([good, good])),
  'is random': write(() => randomBytes(1000)),
  'is all NULs': write((good) => Buffer.alloc(good.length)),
  'begins with NULs': write((good) => Buffer.from(good).fill(0, 0, 8)),
  'is not UTF-8': write((good) => Buffer.from(good).fill(0xff, good.length - 6)),
  'is UTF-16': write((good) => Buffer.from(good.toString(), 'utf16le')),
  'has a byte order mark': write((good) => `\uFEFF${good}`),
  'has CRLF line ends': write((good) => good.toString().replace('\n', '\r\n')),
  'is JSON': write(() => '{"a":"1"}'),
  'is of another version': write((good) => `1${good.subarray(1)}`),
  'has a length that is none': write((good) => good.toString().replace(',43,', ',-1,')),
  'has a length that is too large': write((good) => good.toString().replace(',43,', ',99999999999,')),
  'has an expiry that is none': write((good) => good.toString().replace(/^(3,\d+,\d+),\d+/, '$1,NaN')),
  'lost its line feed': write((good) => good.toString().replace('\n', '')),
  "is another session's": write(() => packRecord(newAddress(), recordOf({ a: '1' }))),
  "is another session's mark": write(() => mark(newAddress())),
  'is a mark that lacks the last byte': write((_, { address }) => mark(address).slice(0, -1)),
  'is a mark with a byte too many': write((_, { address }) => `${mark(address)}x`),
  'is a mark without an address': write(() => `replaced,${Date.now() + 60_000},43\n${newAddress()}`),
  'is a mark until no instant': write((_, { address }) => mark(address, '1.2.3')),
  'is a mark that ends in the header': write((_, { address }) => mark(address).slice(0, 20)),
  'is huge': ({ path, good }) => {
    writeFileSync(path, good);
    truncateSync(path, 2 ** 33);
  },
  'is large, and nothing of ours': write(() => Buffer.alloc(100_000, 'x')),
  'is a folder': ({ path }) => mkdirSync(path),
  'is a link to a good one': ({ path, good }) => {
    writeFileSync(`${path}.secret`, good);
    symlinkSync(`${path}.secret`, path);
  },
  'is a link to nothing': ({ path }) => symlinkSync('nothing', path),
  'is a link to itself': ({ path }) => symlinkSync(path, path),
  'is a pipe': ({ path }) => run('mkfifo', path),
  'is a pipe with a writer': ({ path, cleanUp }) => {
    run('mkfifo', path);
    const writer = openSync(path, constants.O_RDWR);
    cleanUp.push(() => closeSync(writer));
  },
  'is a socket': async ({ folder, path, cleanUp }) => {
    // The path of a socket may be no longer than 107 bytes: it is made in a place with a shorter one.
    const server = createServer();
    const before = process.cwd();
    process.chdir(folder.path);
    await once(server.listen(path.slice(folder.path.length + 1)), 'listening');
    process.chdir(before);
    cleanUp.push(() => server.close());
  },
  'is a device without end': ({ path }) => {
    try {
      run('mknod', path, 'c', '1', '5');
    } catch {
      throw new Unable('making a device takes root');
    }
  },
};

class Unable extends Error {}

describe('a session file that', () => {
  const folder = useFolder();

  for (const [kind, damage] of Object.entries(kinds)) {
    it(`${kind}: no session, and no error`, async function () {
      const store = folder.current.store({ fsync: false });
      const address = newAddress();
      await store.create(newAddress(), recordOf(), call());
      const path = folder.current.file(address);
      const good = Buffer.from(packRecord(address, recordOf({ n: '1', a: '€'.repeat(20) })));
      const cleanUp: Array<() => void> = [];
      try {
        await damage({ folder: folder.current, address, path, good, cleanUp });
      } catch (error) {
        if (error instanceof Unable) return this.skip();
        throw error;
      }
      try {
        const before = lstatSync(path);
        expect(await store.load(address, call())).to.equal('corrupt');
        expect(await store.update(address, changesOf({ b: '2' }), call())).to.deep.equal({ outcome: 'gone' });
        expect(await store.destroy(address, call())).to.deep.equal({ outcome: 'none' });
        expect(lstatSync(path)).to.deep.include({
          ino: before.ino,
          size: before.size,
          mtimeMs: before.mtimeMs,
        });

        const create = store.create(address, recordOf({ c: '3' }), call());
        if (before.isDirectory()) {
          expect((await errorOf(create)).code).to.match(/EISDIR|ENOTEMPTY|EEXIST|EPERM/);
        } else {
          expect(await create).to.deep.equal({ outcome: 'created' });
          expect(contentOf(await store.load(address, call()))).to.deep.equal({ c: '3' });
          expect(lstatSync(path).isFile()).to.equal(true);
        }
        // What a link led to is as it was.
        if (existsSync(`${path}.secret`)) expect(readFileSync(`${path}.secret`)).to.deep.equal(good);
        expect(folder.current.names.filter((name) => /\.lock|\.tmp/.test(name))).to.deep.equal([]);
      } finally {
        for (const step of cleanUp) step();
      }
    });
  }

  it('is as it should be: a mark', async () => {
    const address = newAddress();
    const store = folder.current.store({ fsync: false });
    await store.create(newAddress(), recordOf(), call());
    writeFileSync(folder.current.file(address), mark(address));
    expect(await store.load(address, call())).to.have.keys('by', 'until');
  });

  it('is as it should be: a session', async () => {
    const address = newAddress();
    const store = folder.current.store({ fsync: false });
    await store.create(newAddress(), recordOf(), call());
    writeFileSync(folder.current.file(address), packRecord(address, recordOf({ a: '€' })));
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '€' });
  });
});
