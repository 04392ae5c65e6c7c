export * from './encrypted.js';
