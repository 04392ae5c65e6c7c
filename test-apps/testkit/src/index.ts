export * from './http.js';
export * from './redis.js';
