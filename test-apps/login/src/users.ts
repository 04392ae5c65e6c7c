import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(scrypt) as (password: string, salt: Buffer, length: number) => Promise<Buffer>;

export interface User {
  readonly id: string;
  readonly name: string;
}

interface Account extends User {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** The accounts. A real app has them in its database, with salt and hash. */
export class Users {
  readonly #accounts: ReadonlyMap<string, Account>;
  /** Stands in for an unknown name, so that the comparison takes as long. */
  readonly #nobody: Account;

  private constructor(accounts: readonly Account[], nobody: Account) {
    this.#accounts = new Map(accounts.map((account) => [account.id, account]));
    this.#nobody = nobody;
  }

  static async demo(): Promise<Users> {
    return new Users(
      [
        await register('ada', 'Ada Lovelace', 'analytical engine'),
        await register('grace', 'Grace Hopper', 'nanoseconds of wire'),
      ],
      await register('', '', randomBytes(16).toString('hex')),
    );
  }

  /** Takes as long for an unknown name as for a wrong password, so that the time doesn't reveal which names exist. */
  async check(id: string, password: string): Promise<User | undefined> {
    const { salt, hash } = this.#accounts.get(id) ?? this.#nobody;
    const isRight = timingSafeEqual(hash, await derive(password, salt, hash.length));
    return isRight ? this.find(id) : undefined;
  }

  find(id: string | undefined): User | undefined {
    return id === undefined ? undefined : this.#accounts.get(id);
  }
}

async function register(id: string, name: string, password: string): Promise<Account> {
  const salt = randomBytes(16);
  return { id, name, salt, hash: await derive(password, salt, 32) };
}
