import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The repository's folder, with a slash at the end. */
export const ROOT: string = fileURLToPath(new URL('../../../', import.meta.url));

/** A piece of code in a document. */
export interface Block {
  /** The word after the backticks: `js`, `ts`, `sh`, `sql`, `console`, `text`. */
  readonly language: string;
  /** The document's line of the block's first one, from 1. */
  readonly line: number;
  readonly code: string;
}

/** A Markdown file. */
export interface Document {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  /** The text without its blocks. */
  readonly prose: string;
}

const FENCE = /^( *)```([^\n]*)\n(.*?)^\1```$/gms;

/** Packages that documents use, and that other test apps install: without them, such blocks aren't tested. */
export const ELSEWHERE: readonly string[] = [
  'iron-session',
  'jest',
  'koa-passport',
  'passport-local',
  'supertest',
  'vitest',
];

/** The packages of a block that aren't installed. */
export function missingIn({ code }: Block): string[] {
  return ELSEWHERE.filter(
    (name) => code.includes(`from '${name}'`) && !existsSync(`${ROOT}node_modules/${name}/package.json`),
  );
}

/** Whether it is a program, or a piece of one. */
export function isCode({ language }: Block): boolean {
  return language === 'js' || language === 'ts';
}

/** All Markdown files of the repository. */
export function readDocuments(): Document[] {
  const list = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.md'], { cwd: ROOT });
  return String(list).split('\n').filter(Boolean).map(readDocument);
}

function readDocument(path: string): Document {
  const text = readFileSync(ROOT + path, 'utf8');
  const blocks = Array.from(text.matchAll(FENCE), ({ index, 1: indent, 2: language, 3: code }) => ({
    language: language as string,
    line: text.slice(0, index).split('\n').length + 1,
    code: (code as string).replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }));
  return { path, text, blocks, prose: text.replaceAll(FENCE, '') };
}
