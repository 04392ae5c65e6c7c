import { listen } from 'app-kit/listen';
import { chooseStore } from 'app-kit/stores';
import { createApp } from './app.js';

const { store, place } = chooseStore(process.env.STORE ?? 'fs');

listen(createApp(store, place), 'counter', place);
