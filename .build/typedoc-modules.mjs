import { readFileSync } from 'node:fs';
import { Comment, CommentTag, Converter } from 'typedoc';

/** What each group of the API reference has, in the order of the groups. Errors are a group by their name. */
const GROUPS = {
  Sessions: [
    'session',
    'SessionOptions',
    'Sessions',
    'RevokeOptions',
    'OpenOptions',
    'OwnedSession',
    'SidFinder',
    'MaxSessions',
    'DeviceBoundOptions',
  ],
  'One session': [
    'Session',
    'SessionMembers',
    'SessionControls',
    'LogInOptions',
    'LogOutOptions',
    'SiteData',
    'Owner',
    'MaxAge',
    'SessionCallback',
  ],
  'Your data': ['SessionData', 'SessionContent', 'FlashMessages'],
  'Transport and signatures': ['headerTransport', 'Transport', 'TransportOption', 'Signer'],
  Migrating: ['Migrate'],
  Events: ['SessionEvent', 'SessionEventName', 'RejectionReason', 'TracedCall'],
};

/** After typedoc has sorted and grouped. */
const LAST = -1000;

/** A plugin for typedoc: modules are called as they are imported, and the core's exports are grouped by task. */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? []) {
      const [{ fullFileName }] = module.sources;
      module.name = importedAs(fullFileName);
      const alias = module.getChildByName('default');
      if (alias) project.removeReflection(alias);
      if (module.name === 'koa-wsession') module.children.forEach(addGroup);
    }
  });
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => sortGroups(project), LAST);
}

/** Such as `koa-wsession/memory`, of `packages/koa-wsession/src/memory.ts`. */
function importedAs(file) {
  const [folder, path] = file.replace(/(\/index)?\.ts$/, '').split('/src');
  return JSON.parse(readFileSync(`${folder}/package.json`, 'utf8')).name + path;
}

/** In the order of `GROUPS`: what an app calls first comes first. */
function sortGroups(project) {
  const names = Object.values(GROUPS).flat();
  for (const { categories = [] } of project.children ?? [])
    for (const { children } of categories) children.sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name));
}

function addGroup(reflection) {
  const { name } = reflection;
  const [group] = Object.entries(GROUPS).find(([, names]) => names.includes(name)) ?? [];
  if (!group && !/Error(Code)?$/.test(name)) throw new Error(`.build/typedoc-modules.mjs: ${name} is in no group`);
  for (const documented of reflection.signatures ?? [reflection]) {
    documented.comment ??= new Comment();
    documented.comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: group ?? 'Errors' }]));
  }
}
