import { writeFileSync } from 'node:fs';
import { ROOT, readDocuments } from './markdown.js';
import { fillTables } from './tables.js';

// Writes the tables into the documents.
for (const { path, text } of readDocuments()) {
  const filled = fillTables(text);
  if (filled !== text) writeFileSync(ROOT + path, filled);
}
