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
  object: (value) => Object.getPrototypeOf(Object.getPrototypeOf(value)) === null,
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
  const kind = KINDS.get(prototype) ?? foreignKindOf(prototype);
  return (IS_REAL[kind]?.(value) ?? true) ? kind : 'instance';
}

/** Of the prototype of another realm's built-in class: the kind that our own class of that name has. */
function foreignKindOf(prototype: object): Kind {
  const builtIn = prototype.constructor;
  if (typeof builtIn !== 'function' || builtIn.prototype !== prototype || !isNative(builtIn)) return 'instance';
  for (const [own, kind] of KINDS) if (own?.constructor.name === builtIn.name) return kind;
  return 'instance';
}

function isNative(one: object): boolean {
  return /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(one));
}

export function nameOfClass(value: object): string {
  return value.constructor?.name || 'a class';
}
