import { FsStore } from '@koa-wsession/store-fs';
import { serveAsWorker } from 'testkit/two-processes';

await serveAsWorker(new FsStore({ directory: process.argv[2] as string }));
