import { start } from 'app-kit/start';
import { createApp } from './app.js';

await start('counter', createApp);
