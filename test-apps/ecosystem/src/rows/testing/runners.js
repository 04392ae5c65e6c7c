import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const FOLDER = fileURLToPath(new URL('../../../', import.meta.url));

/** How each runs a test, without a configuration. */
const RUNNERS = {
  jest: [`${FOLDER}node_modules/jest/bin/jest.js`, '--rootDir=.', 'jest.test.cjs'],
  vitest: [`${FOLDER}node_modules/vitest/vitest.mjs`, 'run', 'vitest.test.mjs'],
  mocha: [`${FOLDER}node_modules/mocha/bin/mocha.js`, 'mocha.test.cjs'],
  'node:test': ['--test', 'node.test.mjs'],
};

export default async function runners(trial, name) {
  const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...env } = process.env;
  const cwd = `${FOLDER}fixtures/runners`;
  try {
    await promisify(execFile)(process.execPath, RUNNERS[name], { cwd, env: { ...env, ...trial.env } });
  } catch ({ message, stdout, stderr }) {
    throw new Error(`${message}\n${stdout}${stderr}`);
  }
}
