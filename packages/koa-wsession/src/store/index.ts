/** What the author of a store needs, and nobody else. */
export { OptionError } from '../errors.js';
export { standingOf } from '../features/owner-index.js';
export { decrypt, encrypt } from './cipher.js';
export { assertInTime } from './decorator.js';
export { checkOption, checkStoreOptions, type StoreOptions } from './options.js';
export {
  applyChanges,
  findConflict,
  isRecord,
  isReplacement,
  noneToDestroy,
  openRecord,
  packRecord,
  unpackRecord,
} from './record.js';
export { checkSecrets, type Secret } from './secrets.js';
export type * from './store.js';
