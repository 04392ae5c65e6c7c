/** What the author of a store needs, and nobody else. */
export { OptionError } from '../errors.js';
export { standingOf } from '../features/owner-index.js';
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
export type * from './store.js';
