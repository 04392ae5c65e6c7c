import { start } from 'app-kit/start';
import { createChat } from './app.js';

await start('chat', createChat);
