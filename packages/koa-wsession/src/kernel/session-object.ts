import type { ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { ReservedError, ValueError } from '../errors.js';
import type { Session, SessionCallback, SessionMembers } from '../types.js';
import type { ChangeTracker } from './change-tracker.js';
import { isUserKey, toEntryKey, toUserKey } from './entries.js';
import type { ExtendedRequest } from './extension.js';
import { kindOf } from './kinds.js';
import type { SessionLifecycle } from './lifecycle.js';
import { checkMaxAge } from './lifetime.js';
import type { Settings } from './options.js';

/** The names that every session has; whatever else is assigned is data. */
const MEMBERS: ReadonlySet<string | symbol> = new Set<string | symbol>([
  'isNew',
  'maxAge',
  'save',
  'regenerate',
  'destroy',
] satisfies Array<keyof SessionMembers>);

/** Where a session is: what features need to know besides its data. */
export interface SessionScope extends ExtendedRequest {
  readonly settings: Settings;
  /** `undefined` where nothing is to be sent. */
  readonly res: ServerResponse | undefined;
}

/** The session object of one request. */
export class SessionObject {
  readonly lifecycle: SessionLifecycle;
  readonly scope: SessionScope;
  #handler: SessionHandler;

  constructor(lifecycle: SessionLifecycle, scope: SessionScope) {
    this.lifecycle = lifecycle;
    this.scope = scope;
    this.#handler = new SessionHandler(this);
  }

  get proxy(): Session {
    return this.#handler.proxy;
  }

  /** Another object takes this one's place, which keeps what it holds. */
  renew(former: ChangeTracker): void {
    this.#handler.freeze(former);
    this.#handler = new SessionHandler(this);
  }

  /** `ctx.session = { … }`: this content in place of what there is. A `maxAge` in it is set; without, it stays. */
  replaceContent(content: unknown): void {
    if (typeof content !== 'object' || content === null || !['object', 'bare'].includes(kindOf(content))) {
      const kind = Array.isArray(content) ? 'an array' : typeof content;
      throw new ValueError('session', `can be assigned a plain object, or null to end it, and not ${kind}.`);
    }
    const { maxAge, ...data } = content as Record<string, unknown>;
    const entries = Object.entries(data);
    if (Reflect.ownKeys(content).length > Object.keys(content).length)
      throw new ValueError('session', "can't be assigned an object with symbols or hidden properties as keys.");
    for (const [key] of entries) if (MEMBERS.has(key)) throw new ReservedError(key);
    const setsMaxAge = Object.hasOwn(content, 'maxAge');
    if (setsMaxAge && maxAge !== undefined && maxAge !== null)
      checkMaxAge(maxAge, this.scope.settings.lifetimes.expire); // before anything changes
    const tracker = this.lifecycle.writable;
    tracker.replaceWhere(isUserKey, new Map(entries.map(([key, value]) => [toEntryKey(key), value])));
    if (setsMaxAge) this.lifecycle.maxAge = maxAge;
  }
}

/** What a session returns under this symbol: the way back, which nothing shows. */
const OBJECT: unique symbol = Symbol('session');

/** The session object behind a session; `undefined` for anything else. */
export function objectOf(session: object): SessionObject | undefined {
  return (session as { [OBJECT]?: SessionObject })[OBJECT];
}

/** Shared proxy target. Only `inspect` looks at it, past the traps, and calls this on the session. */
const TARGET: object = Object.create({
  [inspect.custom](this: object): object {
    const session = objectOf(this)?.proxy; // none where `showProxy` has it look at this very object
    return session ? { ...(this as Session) } : {};
  },
});

/**
 * A plain object to look at: `Object.prototype`'s methods are inherited, except `constructor` and `__proto__`, which are
 * data. No member may be a symbol: V8 12 and later (Node 22) would find no `get` next to it.
 */
class SessionHandler implements ProxyHandler<object> {
  readonly proxy: Session = new Proxy(TARGET, this) as Session;
  readonly #object: SessionObject;
  readonly #lifecycle: SessionLifecycle;
  /** Of a session that another one took the place of: what it held. */
  #former: ChangeTracker | undefined;
  #methods: Pick<SessionMembers, 'save' | 'regenerate' | 'destroy'> | undefined;

  constructor(object: SessionObject) {
    this.#object = object;
    this.#lifecycle = object.lifecycle;
  }

  freeze(former: ChangeTracker): void {
    this.#former = former;
  }

  getPrototypeOf(): object {
    return Object.prototype;
  }

  get(_target: object, key: string | symbol): unknown {
    if (typeof key === 'symbol') return key === OBJECT ? this.#object : undefined;
    if (MEMBERS.has(key)) return this.#member(key as keyof SessionMembers);
    const tracker = this.#readable;
    const entryKey = toEntryKey(key);
    const value = tracker.get(entryKey);
    if (value !== undefined || !isInherited(key) || tracker.has(entryKey)) return value;
    return Object.prototype[key as keyof object];
  }

  has(_target: object, key: string | symbol): boolean {
    if (typeof key === 'symbol') return false;
    return MEMBERS.has(key) || isInherited(key) || this.#readable.has(toEntryKey(key));
  }

  set(_target: object, key: string | symbol, value: unknown, receiver: object): boolean {
    // An object that inherits from the session gets a property of its own.
    if (receiver !== this.proxy)
      return Reflect.defineProperty(receiver, key, { value, writable: true, enumerable: true, configurable: true });
    return this.#assign(key, value);
  }

  #assign(key: string | symbol, value: unknown): boolean {
    if (key === 'maxAge') this.#lifecycle.maxAge = value;
    else {
      const entryKey = toWritable(key);
      this.#writable.set(entryKey, value);
    }
    return true;
  }

  deleteProperty(_target: object, key: string | symbol): boolean {
    if (key === 'maxAge') this.#lifecycle.maxAge = undefined;
    else {
      const entryKey = toWritable(key);
      this.#writable.delete(entryKey);
    }
    return true;
  }

  ownKeys(): string[] {
    return this.#readable.keys().filter(isUserKey).map(toUserKey);
  }

  getOwnPropertyDescriptor(target: object, key: string | symbol): PropertyDescriptor | undefined {
    if (typeof key === 'symbol' || MEMBERS.has(key) || !this.#readable.has(toEntryKey(key))) return undefined;
    return { value: this.get(target, key), writable: true, enumerable: true, configurable: true };
  }

  defineProperty(_target: object, key: string | symbol, property: PropertyDescriptor): boolean {
    const { writable, enumerable, configurable } = property;
    if (!('value' in property) || !writable || !enumerable || !configurable) {
      throw new ValueError(`session.${String(key)}`, 'can only be an ordinary property: assign it.');
    }
    return this.#assign(key, property.value);
  }

  setPrototypeOf(_target: object, prototype: object | null): boolean {
    return prototype === Object.prototype;
  }

  preventExtensions(): boolean {
    return false;
  }

  get #readable(): ChangeTracker {
    return this.#former ?? this.#lifecycle.tracker;
  }

  get #writable(): ChangeTracker {
    return this.#former ?? this.#lifecycle.writable;
  }

  #member(name: keyof SessionMembers): unknown {
    if (name === 'isNew') return this.#lifecycle.isNew;
    if (name === 'maxAge') return this.#lifecycle.maxAge;
    this.#methods ??= makeMethods(this.#object);
    return this.#methods[name];
  }
}

/** Whether a session has the key from `Object.prototype`, unless there is data of that name. */
function isInherited(key: string): boolean {
  return key in Object.prototype && key !== 'constructor' && key !== '__proto__';
}

/** The entry of a key that may be written. */
export function toWritable(key: string | symbol): string {
  if (typeof key === 'symbol')
    throw new ValueError(`session[${String(key)}]`, "is a symbol, and only strings can be a session's keys.");
  if (MEMBERS.has(key)) throw new ReservedError(key);
  return toEntryKey(key);
}

function makeMethods(object: SessionObject): Pick<SessionMembers, 'save' | 'regenerate' | 'destroy'> {
  const { lifecycle } = object;
  return {
    save: withCallback(() => lifecycle.save()),
    destroy: withCallback(() => lifecycle.destroy()),
    regenerate: withCallback(
      () => lifecycle.regenerate(),
      async () => object.renew(await lifecycle.restart()),
    ),
  };
}

interface WithCallback {
  (): Promise<void>;
  (callback: SessionCallback): void;
}

/** A method that returns a promise, or calls a Node callback where it is given one. */
function withCallback(run: () => Promise<void>, runForCallback: () => Promise<void> = run): WithCallback {
  function method(): Promise<void>;
  function method(callback: SessionCallback): void;
  function method(callback?: SessionCallback): Promise<void> | undefined {
    if (typeof callback !== 'function') return run();
    // Not inside the promise: what the callback throws is the app's, as with any Node callback.
    runForCallback().then(
      () => process.nextTick(callback),
      (error) => process.nextTick(callback, error),
    );
    return undefined;
  }
  return method;
}
