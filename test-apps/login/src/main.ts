import { start } from 'app-kit/start';
import { createLogin, TIMEOUTS } from './app.js';

await start('login', createLogin, { expire: TIMEOUTS.idle });
