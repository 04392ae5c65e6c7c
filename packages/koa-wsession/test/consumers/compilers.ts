import { expect } from 'chai';
import { type Consumer, koa2, koa3, type Result } from './setup.js';

const STRICT = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess'];
const OTHER = ['--target', 'es2022', '--pretty', 'false', '--outDir', 'out'];

/** The oldest TypeScript, the last that is written in JavaScript, and the native one. */
const TYPESCRIPT = { '5.4': 'ts54', '5.9': 'typescript', '7': 'ts7' } as const;
type Version = keyof typeof TYPESCRIPT;
type Mode = { options: string; versions: Version[]; kinds?: string[] };

/** TypeScript 7 has no `node10`: under `commonjs`, it resolves as bundlers do. */
const MODES: Mode[] = [
  { options: 'commonjs --moduleResolution node10 --esModuleInterop', versions: ['5.4', '5.9'] },
  { options: 'commonjs', versions: ['7'] },
  { options: 'node16', versions: ['5.4', '7'], kinds: ['mts', 'cts'] },
  { options: 'nodenext', versions: ['5.4', '7'], kinds: ['mts', 'cts'] },
  { options: 'preserve --moduleResolution bundler --noEmit', versions: ['5.4', '7'] },
];
/** Typings that are often still installed. */
const NEIGHBOURS = ['koa-session', 'koa-generic-session', 'koa-passport', 'koa-csrf'];
/**
 * They say that `session` is something else, in interfaces of Koa's that ours are one with. No declaration of ours can
 * agree with both, so checking the typings themselves fails; apps skip that check (`skipLibCheck`).
 */
const CONFLICTS: Record<string, string[]> = {
  'koa-session': ['node_modules/@types/koa/index.d.ts: TS2430'],
  'koa-generic-session': ['node_modules/@types/koa-generic-session/index.d.ts: TS2717'],
};

function compile(consumer: Consumer, version: Version, ...args: string[]): Promise<Result> {
  const tsc = `${koa3.folder}/node_modules/${TYPESCRIPT[version]}/bin/tsc`;
  return consumer.run(process.execPath, tsc, ...STRICT, ...OTHER, ...args);
}

/** The files and codes of the errors, each line once. */
function errorsOf({ output }: Result): string[] {
  return [...output.matchAll(/^(\S.*)\(\d+,\d+\): error (TS\d+)/gm)].map(([, file, code]) => `${file}: ${code}`);
}

const typosIn = (...files: string[]) => files.flatMap((file) => [`${file}: TS2551`, `${file}: TS2551`]);

// Type checks by the older compilers take seconds each: Koa 2 gets only the newest that has the mode.
for (const [koa, consumer, newest] of [
  ['Koa 3', () => koa3, false],
  ['Koa 2', () => koa2, true],
] as const) {
  describe(`the packages, installed, compile with ${koa}, and a typo does not`, () => {
    for (const { options, versions, kinds = ['ts'] } of MODES) {
      for (const version of newest ? versions.slice(-1) : versions) {
        it(`under --module ${options} with TypeScript ${version}`, async () => {
          const files = kinds.flatMap((kind) => [`counter.${kind}`, `entries.${kind}`, `typo.${kind}`]);
          const modules = ['--module', ...options.split(' ')];
          const result = await compile(consumer(), version, ...modules, '--types', 'node', ...files);
          const typos = typosIn(...kinds.map((kind) => `typo.${kind}`));
          expect(errorsOf(result), result.output).to.have.members(typos);
          if (options.includes('--noEmit')) return;
          for (const kind of kinds) {
            const program = `out/counter.${kind.replace('t', 'j')}`;
            expect(await consumer().succeed('node', program)).to.equal('1 2');
          }
        });
      }
    }

    it('without esModuleInterop', async () => {
      const modules = ['--module', 'commonjs', '--moduleResolution', 'node10', '--esModuleInterop', 'false'];
      const files = ['plain.ts', 'entries.ts', 'typo.ts'];
      const result = await compile(consumer(), '5.4', ...modules, '--types', 'node', ...files);
      expect(errorsOf(result), result.output).to.have.members(typosIn('typo.ts'));
    });

    for (const neighbour of NEIGHBOURS) {
      for (const skip of [true, false]) {
        const conflicts = skip ? [] : (CONFLICTS[neighbour] ?? []);
        const title = `beside @types/${neighbour} with skipLibCheck ${skip}`;
        it(conflicts.length > 0 ? `${title}, except the typings themselves` : title, async () => {
          // With several checkers, each reports a conflict between two declarations where it meets one of them.
          const modules = ['--module', 'nodenext', '--noEmit', '--skipLibCheck', String(skip), '--checkers', '1'];
          const types = ['--types', `node,${neighbour}`];
          const files = ['counter.mts', 'counter.cts', 'entries.mts', 'typo.mts', 'typo.cts'];
          const result = await compile(consumer(), '7', ...modules, ...types, ...files);
          const expected = [...conflicts, ...typosIn('typo.mts', 'typo.cts')];
          expect(errorsOf(result), result.output).to.have.members(expected);
        });
      }
    }
  });
}
