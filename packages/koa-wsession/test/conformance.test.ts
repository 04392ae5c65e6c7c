import { conformance } from 'koa-wsession/conformance';
import { MemoryStore } from 'koa-wsession/memory';

conformance(
  { describe, it, afterEach },
  {
    name: 'MemoryStore',
    create: (options) => new MemoryStore(options),
    capabilities: { seals: false, merges: true, revokes: true },
    isolated: true,
  },
);
