import { types } from 'node:util';

/** What an object is, as far as storing it is concerned. */
export type Kind = 'object' | 'bare' | 'array' | 'map' | 'set' | 'date' | 'bytes' | 'buffer' | 'instance';

const KINDS: ReadonlyMap<object | null, Kind> = new Map<object | null, Kind>([
  [Object.prototype, 'object'],
  [null, 'bare'],
  [Array.prototype, 'array'],
  [Map.prototype, 'map'],
  [Set.prototype, 'set'],
  [Date.prototype, 'date'],
  [Uint8Array.prototype, 'bytes'],
  [Buffer.prototype, 'buffer'],
]);

/** Whether an object of this kind really is what its prototype says: `Object.create(Map.prototype)` is no map. */
const IS_REAL: Partial<Record<Kind, (value: object) => boolean>> = {
  array: Array.isArray,
  map: types.isMap,
  set: types.isSet,
  date: types.isDate,
  bytes: types.isUint8Array,
  buffer: types.isUint8Array,
};

/** The kind of an object; those of another realm (Jest, `node:vm`) count like our own. */
export function kindOf(value: object): Kind {
  const prototype = Object.getPrototypeOf(value);
  const kind = KINDS.get(prototype) ?? foreignKindOf(value, prototype);
  return (IS_REAL[kind]?.(value) ?? true) ? kind : 'instance';
}

/** The prototypes of another realm's built-in classes are told by their place under that realm's `Object.prototype`. */
function foreignKindOf(value: object, prototype: object): Kind {
  const above = Object.getPrototypeOf(prototype);
  if (isRoot(prototype)) return 'object';
  if (Array.isArray(prototype) && isRoot(above)) return 'array';
  if (!hasBuiltInClass(prototype)) return 'instance';
  if (types.isUint8Array(value) && prototype.constructor.name === 'Uint8Array') return 'bytes';
  if (!isRoot(above)) return 'instance';
  if (types.isMap(value)) return 'map';
  if (types.isSet(value)) return 'set';
  return types.isDate(value) ? 'date' : 'instance';
}

/** Whether it is a realm's `Object.prototype`. */
function isRoot(prototype: object | null): boolean {
  return (
    prototype !== null &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'isPrototypeOf') &&
    hasBuiltInClass(prototype)
  );
}

function hasBuiltInClass(prototype: object): boolean {
  const builtIn = prototype.constructor;
  return typeof builtIn === 'function' && /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(builtIn));
}

export function nameOfClass(value: object): string {
  return value.constructor?.name || 'a class';
}
