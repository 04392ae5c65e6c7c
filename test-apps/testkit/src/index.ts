export * from './heap.js';
export * from './http.js';
export * from './programs.js';
export * from './redis.js';
