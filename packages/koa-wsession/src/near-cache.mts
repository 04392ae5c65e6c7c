export * from './near-cache.js';
