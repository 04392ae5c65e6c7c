/*
 * The chat in a process of its own, with a store that the parent process rules: `work`, `fail`, or `hold`, where a load
 * waits for the next of these messages. The process tells its port, repeats each message, and tells each load that waits.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createChat } from 'chat';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';

const memory = new MemoryStore();
let mode: unknown = 'work';
process.on('message', (message) => {
  mode = message;
  process.send?.(message);
});

const store: Store = {
  expire: memory.expire,
  secure: memory.secure,
  domain: memory.domain,
  capabilities: memory.capabilities,
  index: memory.index,
  async load(key) {
    if (mode === 'hold') {
      process.send?.('loading');
      await once(process, 'message');
    }
    if (mode === 'fail') throw new Error('the store is down');
    return memory.load(key);
  },
  create: (key, record) => memory.create(key, record),
  update: (key, changes) => {
    if (mode === 'fail') throw new Error('the store is down');
    return memory.update(key, changes);
  },
  destroy: (key, call) => memory.destroy(key, call),
};

const server = createChat(store, 'here').listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port);
});
process.once('disconnect', () => process.exit());
