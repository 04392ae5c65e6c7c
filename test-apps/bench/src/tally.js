/* Counts the system calls of a process. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withDirectory } from './children.js';

/** Whether system calls can be counted: `strace` is there, and may attach to a process that it didn't start. */
export const canTrace =
  spawnSync('strace', ['-qq', '-e', 'trace=none', 'true'], { stdio: 'ignore' }).status === 0 &&
  (process.getuid?.() === 0 || ptraceScope() === 0);

/** 0: any process of the same user (Linux, security/Yama). */
function ptraceScope() {
  try {
    return Number(readFileSync('/proc/sys/kernel/yama/ptrace_scope', 'utf8'));
  } catch {
    return 0;
  }
}

/**
 * The system calls of all threads of a process while `use` runs: those on files and folders, and those on sockets.
 * Waiting (`futex`, `epoll`), memory and signals are left out, since their number varies.
 */
export function traceCalls(pid, use) {
  return withDirectory(async (directory) => {
    const output = join(directory, 'trace');
    const tracer = spawn('strace', ['-f', '-y', '-s', '0', '-o', output, '-p', String(pid)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const exited = once(tracer, 'exit');
    let said = '';
    tracer.stderr.setEncoding('utf8');
    await new Promise((resolve, reject) => {
      tracer.stderr.on('data', (text) => {
        said += text;
        if (/attached/.test(said)) resolve();
      });
      exited.then(() => reject(new Error(`strace ended: ${said}`)));
    });
    const answer = await use();
    tracer.kill('SIGINT');
    await exited;
    return { answer, calls: sortCalls(await readFile(output, 'latin1')) };
  });
}

const PATH_CALL =
  /^(open|openat|openat2|creat|stat|lstat|newfstatat|statx|access|faccessat2?|mkdir|mkdirat|rmdir|unlink|unlinkat|rename|renameat2?|link|linkat|symlink|symlinkat|readlink|readlinkat|chmod|fchmodat|chown|utimensat|truncate)$/;

/** Counts the lines of `strace -f -y`: by name, the calls on files, and those on sockets. */
export function sortCalls(trace) {
  const calls = { files: {}, sockets: {} };
  // An interrupted call is on two lines; the second has no name in front of its bracket.
  for (const [, name, rest] of trace.matchAll(/^\d+ +(\w+)\((.*)$/gm)) {
    const [, opened] = /^\d+<([^>]*)>/.exec(rest) ?? [];
    const kind =
      PATH_CALL.test(name) || (opened?.startsWith('/') && !opened.startsWith('/dev/'))
        ? 'files'
        : opened && /^(socket|TCP)/.test(opened) && !name.startsWith('epoll')
          ? 'sockets'
          : undefined;
    if (kind) calls[kind][name] = (calls[kind][name] ?? 0) + 1;
  }
  return calls;
}
