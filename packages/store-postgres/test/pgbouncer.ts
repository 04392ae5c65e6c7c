import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { has } from 'testkit/programs';

/** Debian's folder for servers is on root's PATH only. */
const PROGRAM = existsSync('/usr/sbin/pgbouncer') ? '/usr/sbin/pgbouncer' : 'pgbouncer';

/** For `describeWith`: what is missing on this machine. */
export const needsPgBouncer: readonly string[] = PROGRAM !== 'pgbouncer' || has(PROGRAM) ? [] : ['pgbouncer'];

export interface PgBouncer {
  readonly port: number;
  stop(): Promise<void>;
}

/** From 1.21 on, PgBouncer gives each client its prepared statements in transaction mode, too. */
export function keepsPreparedStatements(): boolean {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(execFileSync(PROGRAM, ['--version'], { encoding: 'utf8' })) ?? [];
  return Number(major) > 1 || Number(minor) >= 21;
}

/** PgBouncer in transaction mode, with so many connections to the Postgres server on this port. */
export async function startPgBouncer(server: number, connections: number): Promise<PgBouncer> {
  const dir = mkdtempSync(join(tmpdir(), 'pgbouncer-'));
  chmodSync(dir, 0o755); // it reads its settings as another user
  const settings = join(dir, 'pgbouncer.ini');
  for (;;) {
    // Below the ephemeral ports of Linux, so that no outgoing connection takes it.
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    writeFileSync(settings, settingsFor(port, server, connections), { mode: 0o644 });
    const asUser = process.getuid?.() === 0 ? ['-u', 'postgres'] : []; // it refuses to run as root
    const child = spawn(PROGRAM, [...asUser, settings], { stdio: ['ignore', 'ignore', 'pipe'] });
    if (!(await isListening(child))) continue;
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    return {
      port,
      async stop() {
        const exited = once(child, 'exit');
        kill();
        await exited;
        process.off('exit', kill);
        await rm(dir, { recursive: true });
      },
    };
  }
}

const settingsFor = (port: number, server: number, connections: number): string => `[databases]
postgres = host=127.0.0.1 port=${server} user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${connections}
${keepsPreparedStatements() ? 'max_prepared_statements = 100' : ''}
`;

/** `false`: the port is in use. */
async function isListening(child: ChildProcess): Promise<boolean> {
  let log = '';
  for await (const text of (child.stderr as Readable).setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    log += text;
    if (/process up/.test(log)) {
      child.stderr?.resume();
      return true;
    }
  }
  if (!/in use|cannot listen/.test(log)) throw new Error(`pgbouncer ended: ${log}`);
  return false;
}
