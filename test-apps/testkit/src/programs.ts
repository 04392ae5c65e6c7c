import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/* `.ci/programs` brings what tests start, where there is apt. Elsewhere, they are skipped, and say what for. */

/** Whether a program can be started by its name. */
export function has(program: string): boolean {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.some((folder) => existsSync(join(folder, program)));
}

/** What mocha calls a suite or a test on. */
interface Timed {
  timeout(milliseconds: number): unknown;
}

/** `describe` for what needs programs: where one is missing, all that is left is one skipped test that says which. */
export function describeWith(programs: readonly string[], title: string, suite: (this: Timed) => void): void {
  const missing = missingOf(programs);
  if (missing === undefined) describe(title, suite);
  else describe(title, () => void it.skip(missing));
}

/** The same for one test. */
export function itWith(programs: readonly string[], title: string, test: (this: Timed) => Promise<void>): void {
  const missing = missingOf(programs);
  if (missing === undefined) it(title, test);
  else it.skip(`${title} (${missing})`);
}

function missingOf(programs: readonly string[]): string | undefined {
  const missing = programs.filter((program) => !has(program));
  return missing.length > 0 ? `needs ${missing.join(' and ')}, which is not on the PATH` : undefined;
}
