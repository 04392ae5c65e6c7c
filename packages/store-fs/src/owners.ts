import type { Call, OwnerIndex, SessionRecord } from 'koa-wsession';
import type { RecordFiles } from './record-files.js';

/** Which sessions belong to whom: one file an owner, with a record of the addresses and until when each is named. */
export class Owners implements OwnerIndex {
  readonly #files: RecordFiles;

  constructor(files: RecordFiles) {
    this.#files = files;
  }

  async add(owner: string, key: string, until: number, call: Call): Promise<void> {
    await this.#files.change(owner, call, async (file) => {
      const named = namedIn(file.record);
      if (until > (named.get(key) ?? 0)) await file.write(toRecord(named.set(key, until)));
    });
  }

  async remove(owner: string, key: string, call: Call): Promise<void> {
    await this.#files.change(owner, call, async (file) => {
      const named = namedIn(file.record);
      if (named.delete(key)) await (named.size > 0 ? file.write(toRecord(named)) : file.remove());
    });
  }

  /** @throws an Error where the file is damaged: who ends all of an owner's sessions has to know that these aren't all */
  async keys(owner: string): Promise<string[]> {
    const found = await this.#files.read(owner);
    if (found === 'corrupt') throw new Error("The list of an owner's sessions is damaged");
    return [...namedIn(typeof found === 'object' ? found : undefined).keys()];
  }
}

/** Those that are still named. */
function namedIn(record: SessionRecord | undefined): Map<string, number> {
  const named = new Map<string, number>();
  for (const [key, until] of record?.entries ?? [])
    if (Date.now() < Number(until)) named.set(key, Number(until));
  return named;
}

/** Lasts as long as the last of them. */
function toRecord(named: ReadonlyMap<string, number>): SessionRecord {
  const entries = new Map(Array.from(named, ([key, until]) => [key, String(until)]));
  return { entries, createdAt: Date.now(), expiresAt: Math.ceil(Math.max(...named.values())) };
}
