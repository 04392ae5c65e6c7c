import { fileURLToPath } from 'node:url';
import nunjucks from 'nunjucks';
import { visitTemplates } from './visit.js';

const environment = nunjucks.configure(fileURLToPath(new URL('../../../fixtures/views', import.meta.url)));

export default function nunjucksRow(trial) {
  return visitTemplates(trial, (_ctx, locals) => environment.render('page.njk', locals));
}
