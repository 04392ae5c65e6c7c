import { expect } from 'chai';
import { readDocuments } from 'docs/markdown';
import { membersOf, publicNamesOf } from 'docs/tables';

const CORE = 'packages/koa-wsession/src/';

/** The sections of the reference that are written by hand, and the names that each must have. */
const SECTIONS: Record<string, readonly string[]> = {
  'The session': publicNamesOf(`${CORE}types.ts`, 'SessionMembers'),
  '`sessions.of(ctx)`': publicNamesOf(`${CORE}features/controls.ts`, 'SessionControls'),
  'All sessions': publicNamesOf(`${CORE}sessions.ts`, 'Sessions').filter((name) => name !== 'of'),
  Events: [
    ...membersOf(`${CORE}kernel/observer.ts`, 'SessionEventName'),
    ...membersOf(`${CORE}kernel/observer.ts`, 'RejectionReason'),
  ],
};

describe('The reference names all members and events, and no others', () => {
  const reference = readDocuments().find(({ path }) => path === 'packages/koa-wsession/README.md')?.text ?? '';

  for (const [title, names] of Object.entries(SECTIONS)) {
    it(title, () => {
      const section = reference.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? '';
      const table = /\n\| (?:name|member|call|event) \|.*?\n\n/s.exec(section)?.[0] ?? '';
      const firstCells = Array.from(table.matchAll(/^\| (`.*?) \|/gm), ([, cell]) => cell as string).join();
      const listed = Array.from(firstCells.matchAll(/`(?:await )?(?:sessions\.)?(\w+)/g), ([, name]) => name as string);
      const reasons = title === 'Events' ? (/`reason` says why: (.*?) \|/.exec(table)?.[1] ?? '') : '';
      for (const [, reason] of reasons.matchAll(/`(\w+)`/g)) listed.push(reason as string);
      expect([...listed].sort()).to.deep.equal([...names].sort());
    });
  }
});
