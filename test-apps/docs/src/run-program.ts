import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { type Block, ROOT } from './markdown.js';

/** A document's program, running in a folder of its own. */
export interface Running {
  readonly folder: string;
  readonly port: number;
  /** What it has written to stdout and stderr. */
  output(): string;
  /** Sends a signal, and returns the exit code. */
  stop(signal: NodeJS.Signals): Promise<number | null>;
  /** Runs a command in the folder; `localhost:3000` in it stands for the program. Returns what the command writes. */
  run(command: string): Promise<string>;
}

/** Runs a program as it is while `use` is in progress. */
export async function whileRunning(
  program: Block,
  env: NodeJS.ProcessEnv,
  use: (running: Running) => Promise<void>,
): Promise<void> {
  const { folder, child, output, exit } = start(program, env);
  try {
    const [ports] = (await Promise.race([once(child, 'message'), exit])) as [Ports | number | null];
    if (typeof ports !== 'object' || ports === null) throw new Error(`It ended: ${output()}`);
    const { port, actual } = ports;
    const run = async (command: string): Promise<string> => {
      const asked = command.replaceAll(`localhost:${port}`, `localhost:${actual}`);
      const { stdout } = await promisify(execFile)('bash', ['-c', `${asked}\ntrue`], { cwd: folder });
      return stdout.replaceAll('\r', '');
    };
    const stop = async (signal: NodeJS.Signals): Promise<number | null> => {
      child.kill(signal);
      return ((await exit) as [number | null])[0];
    };
    await use({ folder, port: actual, output, run, stop });
  } finally {
    child.kill('SIGKILL');
    await exit;
    rmSync(folder, { recursive: true });
  }
}

/** Runs a program until it ends. Returns its exit code, and what it wrote. */
export async function runToEnd(program: Block): Promise<{ status: number | null; output: string }> {
  const { folder, output, exit } = start(program, {});
  const [status] = (await exit) as [number | null];
  rmSync(folder, { recursive: true });
  return { status, output: output() };
}

function start({ language, code }: Block, env: NodeJS.ProcessEnv) {
  const folder = mkdtempSync(`${ROOT}test-apps/docs/.test/run-`);
  const options = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext };
  const file = code.startsWith('// app.cjs\n') ? 'app.cjs' : 'app.mjs';
  writeFileSync(`${folder}/${file}`, language === 'js' ? code : ts.transpile(code, options));
  const anyPort = fileURLToPath(new URL('../test/fixtures/any-port.mjs', import.meta.url));
  const child = spawn(process.execPath, ['--import', anyPort, file], {
    ...{ cwd: folder, env: { ...process.env, NODE_ENV: '', ...env }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (part) => (text += part));
  return { folder, child, output: () => text, exit: once(child, 'close') };
}

/** A port that a program asked for, and the one that it got. */
interface Ports {
  readonly port: number;
  readonly actual: number;
}
