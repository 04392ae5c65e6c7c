import { expect } from 'chai';
import { needsPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { countRequests } from '../src/counts.js';
import { commandCounter, queryCounter } from '../src/protocols.js';
import { openServers } from '../src/servers.js';
import { SYSTEMS } from '../src/systems.js';
import { canTrace, sortCalls } from '../src/tally.js';
import { WORKS } from '../src/works.js';

/**
 * What a request costs with our stores, exactly, so that a change which costs more shows. If a request got cheaper, write
 * down the new number. Bytes of Set-Cookie; round trips to the database server, commands or queries, bytes to and from it;
 * system calls on files. With the near cache, the cookie holds the revision, whose length differs.
 */
const COSTS = {
  cookie: {
    new: { setCookie: 0, fileCalls: 0 },
    untouched: { setCookie: 0, fileCalls: 0 },
    read: { setCookie: 0, fileCalls: 0 },
    counter: { setCookie: 618, fileCalls: 0 },
  },
  redis: {
    new: { setCookie: 0, traffic: [0, 0, 0, 0], fileCalls: 0 },
    untouched: { setCookie: 0, traffic: [1, 1, 129, 442], fileCalls: 0 },
    read: { setCookie: 0, traffic: [1, 1, 129, 442], fileCalls: 0 },
    counter: { setCookie: 87, traffic: [2, 2, 356, 451], fileCalls: 0 },
    'read-big': { setCookie: 0, traffic: [1, 1, 129, 100532], fileCalls: 0 },
    'write-big': { setCookie: 87, traffic: [2, 2, 100356, 100541], fileCalls: 0 },
  },
  'redis-near-cache': {
    new: { setCookie: 0, traffic: [0, 0, 0, 0], fileCalls: 0 },
    untouched: { setCookie: 0, traffic: [0, 0, 0, 0], fileCalls: 0 },
    read: { setCookie: 0, traffic: [0, 0, 0, 0], fileCalls: 0 },
    counter: { setCookie: 90, traffic: [1, 1, 227, 8], fileCalls: 0 },
    'read-big': { setCookie: 0, traffic: [0, 0, 0, 0], fileCalls: 0 },
    'write-big': { setCookie: 90, traffic: [1, 1, 100227, 8], fileCalls: 0 },
  },
  postgres: {
    new: { setCookie: 0, traffic: [0, 0, 0, 0], fileCalls: 0 },
    untouched: { setCookie: 0, traffic: [1, 1, 493, 676], fileCalls: 0 },
    read: { setCookie: 0, traffic: [1, 1, 493, 676], fileCalls: 0 },
    counter: { setCookie: 87, traffic: [2, 2, 1252, 754], fileCalls: 0 },
    'read-big': { setCookie: 0, traffic: [1, 1, 493, 100691], fileCalls: 0 },
    'write-big': { setCookie: 87, traffic: [2, 2, 101249, 100769], fileCalls: 0 },
  },
  fs: {
    new: { setCookie: 0, fileCalls: 0 },
    untouched: { setCookie: 0, fileCalls: 3 },
    read: { setCookie: 0, fileCalls: 3 },
    counter: { setCookie: 87, fileCalls: 15 },
    'read-big': { setCookie: 0, fileCalls: 3 },
    'write-big': { setCookie: 87, fileCalls: 15 },
  },
};

const PROGRAMS = { redis: ['redis-server'], postgres: needsPostgres };

for (const [id, works] of Object.entries(COSTS)) {
  const system = SYSTEMS.find((system) => system.id === id);

  describeWith(PROGRAMS[system.kind] ?? [], `what a request costs with ${system.label}`, () => {
    let servers;
    before(async () => {
      servers = await openServers([system.kind]);
    });
    after(() => servers.close());

    for (const [workId, costs] of Object.entries(works)) {
      const work = WORKS.find((work) => work.id === workId);

      it(work.title, async () => {
        const count = await countRequests(system, work, servers);
        const { traffic } = count;
        const { setCookie, ...exact } = costs;
        // A sealed record says how old it is: a few digits more on a slow machine.
        expect(count.setCookieBytes).to.be.closeTo(setCookie, setCookie > 500 ? 4 : 0);
        expect({
          ...(traffic && { traffic: [traffic.trips, traffic.commands, traffic.bytesSent, traffic.bytesReceived] }),
          // Not counted without strace.
          fileCalls: canTrace ? count.calls.files : costs.fileCalls,
        }).to.deep.equal(exact, JSON.stringify(count.calls?.byName));
      });
    }
  });
}

/** A counter finds so many in a stream, in pieces of whatever size. */
function expectHoweverCut(stream, createCounter, expected) {
  for (let size = 1; size <= stream.length; size++) {
    let found = 0;
    const count = createCounter(() => {
      found += 1;
    });
    for (let at = 0; at < stream.length; at += size) count(stream.subarray(at, at + size));
    expect(found, `in pieces of ${size}`).to.equal(expected);
  }
}

describe('the counting', () => {
  it('finds commands however the stream is cut', () => {
    const stream = Buffer.from('*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n');
    expectHoweverCut(stream, commandCounter, 3);
  });

  it('finds queries however the stream is cut', () => {
    const message = (type, body) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(4 + body.length);
      return Buffer.concat([Buffer.from(type), length, Buffer.from(body)]);
    };
    const stream = Buffer.concat([
      message('', Buffer.from('04d2162f', 'hex')), // asks for TLS
      message('', '\0\x03\0\0user\0app\0\0'),
      ...['P', 'B', 'E'].map((type) => message(type, 'E E Q E')),
      message('S', ''),
      message('Q', 'SELECT 1'),
      message('X', ''),
    ]);
    expectHoweverCut(stream, queryCounter, 2);
  });

  it('separates calls on files from calls on sockets, and counts an interrupted one once', () => {
    const trace = [
      '10 openat(AT_FDCWD</srv>, "a", O_RDONLY) = 20</srv/a>',
      '10 read(20</srv/a>,  <unfinished ...>',
      '11 write(18<socket:[99]>, ""..., 9) = 9',
      '10 <... read resumed>""..., 8192) = 300',
      '11 read(19<anon_inode:[eventfd]>, ""..., 8) = 8',
      '11 futex(0x7f, FUTEX_WAKE_PRIVATE, 1) = 1',
      '11 epoll_ctl(13<anon_inode:[eventpoll]>, EPOLL_CTL_MOD, 20<socket:[99]>, {}) = 0',
    ].join('\n');
    expect(sortCalls(trace)).to.deep.equal({ files: { openat: 1, read: 1 }, sockets: { write: 1 } });
  });
});
