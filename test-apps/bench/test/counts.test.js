import { expect } from 'chai';
import { describeWith } from 'testkit/programs';
import { countRequests } from '../src/counts.js';
import { withRedis } from '../src/redis.js';
import { SYSTEMS } from '../src/systems.js';
import { canTrace, commandCounter, sortCalls } from '../src/tally.js';
import { WORKS } from '../src/works.js';

/**
 * What a request costs with our stores, exactly, so that a change which costs more shows. If a request got cheaper, write
 * down the new number. Bytes of Set-Cookie; commands, bytes to and from Redis; system calls on files.
 */
const COSTS = {
  cookie: {
    new: { setCookie: 0, redis: [0, 0, 0], fileCalls: 0 },
    untouched: { setCookie: 0, redis: [0, 0, 0], fileCalls: 0 },
    read: { setCookie: 0, redis: [0, 0, 0], fileCalls: 0 },
    counter: { setCookie: 614, redis: [0, 0, 0], fileCalls: 0 },
  },
  redis: {
    new: { setCookie: 0, redis: [0, 0, 0], fileCalls: 0 },
    untouched: { setCookie: 0, redis: [1, 129, 515], fileCalls: 0 },
    read: { setCookie: 0, redis: [1, 129, 515], fileCalls: 0 },
    counter: { setCookie: 87, redis: [2, 368, 584], fileCalls: 0 },
    'read-big': { setCookie: 0, redis: [1, 129, 100538], fileCalls: 0 },
    'write-big': { setCookie: 87, redis: [2, 100368, 100607], fileCalls: 0 },
  },
  fs: {
    new: { setCookie: 0, redis: [0, 0, 0], fileCalls: 0 },
    untouched: { setCookie: 0, redis: [0, 0, 0], fileCalls: 3 },
    read: { setCookie: 0, redis: [0, 0, 0], fileCalls: 3 },
    counter: { setCookie: 87, redis: [0, 0, 0], fileCalls: 16 },
    'read-big': { setCookie: 0, redis: [0, 0, 0], fileCalls: 5 },
    'write-big': { setCookie: 87, redis: [0, 0, 0], fileCalls: 20 },
  },
};

describeWith(['redis-server'], 'what a request costs', () => {
  for (const [id, works] of Object.entries(COSTS)) {
    const system = SYSTEMS.find((system) => system.id === id);

    for (const [workId, costs] of Object.entries(works)) {
      const work = WORKS.find((work) => work.id === workId);

      it(`${system.label}: ${work.title}`, async () => {
        const count = await withRedis((redis) => countRequests(system, work, redis.port));
        const { commands, bytesSent, bytesReceived } = count.redis;
        expect({
          setCookie: count.setCookieBytes,
          redis: [commands, bytesSent, bytesReceived],
          // Not counted without strace.
          fileCalls: canTrace ? count.calls.files : costs.fileCalls,
        }).to.deep.equal(costs, JSON.stringify(count.calls?.byName));
      });
    }
  }
});

describe('the counting', () => {
  it('finds commands however the stream is cut', () => {
    const stream = Buffer.from('*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n');
    for (let size = 1; size <= stream.length; size++) {
      let commands = 0;
      const count = commandCounter(() => {
        commands += 1;
      });
      for (let at = 0; at < stream.length; at += size) count(stream.subarray(at, at + size));
      expect(commands, `in pieces of ${size}`).to.equal(3);
    }
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
