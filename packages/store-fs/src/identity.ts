import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { codeOf } from './errors.js';

/* Names of processes that are unique over hosts, containers, boots and reused process ids. */

/** A lock's identity as a regular expression: host, process id, start of the process, store, number of the lock. */
export const IDENTITY: string = String.raw`[\w-]+\.\d+\.\d*\.[\w-]+\.\w+`;

const HOST: string = identifyHost();

/** The first three parts of the identities of this process. */
export const PROCESS: string = `${HOST}.${process.pid}.${parseStat(readIfPossible(readFileSync, '/proc/self/stat')).start}`;

/** Whether the process with this identity has ended. `false` where that can't be told: it may run elsewhere. */
export async function hasEnded(identity: string): Promise<boolean> {
  const [host, pid, start] = identity.split('.');
  if (host !== HOST) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return true; // any other code: the process exists and belongs to another user
  }
  const now = parseStat(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''));
  // A zombie runs no more code; it only waits for its parent to read its exit code.
  return now.state === 'Z' || now.state === 'X' || Boolean(start && now.start && start !== now.start);
}

/** Process ids mean the same only within one host, boot and container. */
function identifyHost(): string {
  const host = createHash('sha256').update(hostname());
  host.update(readIfPossible(readFileSync, '/proc/sys/kernel/random/boot_id'));
  for (const namespace of ['pid', 'time']) host.update(readIfPossible(readlinkSync, `/proc/self/ns/${namespace}`));
  return host.digest('base64url').slice(0, 11);
}

/** A process's state, and its start in ticks since boot; empty where the system doesn't tell. */
function parseStat(stat: string): { state: string; start: string } {
  // The process's name, in brackets, may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', start: fields[19] ?? '' };
}

/** Linux has these files; other systems don't. */
function readIfPossible(read: (path: string, encoding: 'utf8') => string, path: string): string {
  try {
    return read(path, 'utf8');
  } catch {
    return '';
  }
}
