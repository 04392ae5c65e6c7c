export * from './index.js';
export { session as default } from './index.js';
