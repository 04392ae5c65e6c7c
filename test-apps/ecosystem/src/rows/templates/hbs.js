import { fileURLToPath } from 'node:url';
import hbs from 'hbs';
import { visitTemplates } from './visit.js';

const VIEW = fileURLToPath(new URL('../../../fixtures/views/page.hbs', import.meta.url));

/** The function that Express would call to render a view. */
export default function hbsRow(trial) {
  return visitTemplates(
    trial,
    (_ctx, locals) =>
      new Promise((resolve, reject) =>
        hbs.__express(VIEW, { ...locals, settings: { views: '' }, cache: false }, (error, page) =>
          error ? reject(error) : resolve(page),
        ),
      ),
  );
}
